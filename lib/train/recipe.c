/* The recipes: what each changes of the defaults in options_table.c, or of another recipe. A list
 * gives the numbers that its paper or published code gives, in the order of the struct. */
#include "train/options.h"

#include <stddef.h>

/* A value a line. */
/* clang-format off */

/* He et al., Momentum Contrast for Unsupervised Visual Representation Learning, arXiv 1911.05722:
 * sections 3.3 and 4, table 1 and the published code. ResNet-50 on 8 GPUs; keys are shuffled over
 * them. */
static const mo_override_t moco_v1[] = {
    {"arch", MOCO_ARCH_RESNET50},
    {"loss", MOCO_LOSS_QUEUE},
    {"temperature", 0.07},
    {"key_momentum", 0.999},
    {"queue_length", 65536},
    {"head", MOCO_HEAD_LINEAR},
    {"dimension", 128},
    {"batch_size", 256},
    {"bn_groups", 8},
    {"shuffle", 1},
    {"optimizer", MOCO_OPTIMIZER_SGD},
    {"base_lr", 0.03},
    {"weight_decay", 1e-4},
    {"sgd_momentum", 0.9},
    {"epochs", 200},
    {"schedule", MOCO_SCHEDULE_STEP},
    {"milestone_1", 120},
    {"milestone_2", 160},
    {"lr_factor", 0.1},
    {"views", MOCO_VIEWS_V1},
    {"crop_min_area", 0.2},
    {"jitter_hue", 0.4},
    {"jitter_probability", 1},
    {"blur_probability", 0},
    {NULL, 0},
};

/* Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297: an MLP
 * head, stronger views, a cosine schedule, and the temperature that goes with them. */
static const mo_override_t moco_v2[] = {
    {"temperature", 0.2},
    {"head", MOCO_HEAD_MLP},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"views", MOCO_VIEWS_V2},
    {"jitter_hue", 0.1},
    {"jitter_probability", 0.8},
    {"blur_probability", 0.5},
    {NULL, 0},
};

/* The CIFAR-10 demonstration of MoCo's authors, at batch 256: ResNet-18 with a stem for small
 * images, and split batch norm in the place of 8 GPUs. */
static const mo_override_t moco_cifar[] = {
    {"arch", MOCO_ARCH_RESNET18},
    {"stem", MOCO_STEM_CIFAR},
    {"image_size", 32},
    {"temperature", 0.1},
    {"key_momentum", 0.99},
    {"queue_length", 4096},
    {"membership", MOCO_MEMBERSHIP_STRIDED},
    {"weight_decay", 5e-4},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"first_epoch", 1},
    {"views", MOCO_VIEWS_CIFAR},
    {"crop_min_area", 0.08},
    {"jitter_hue", 0.1},
    {"jitter_probability", 0.8},
    {"mean_r", 0.4914},
    {"mean_g", 0.4822},
    {"mean_b", 0.4465},
    {"std_r", 0.2023},
    {"std_g", 0.1994},
    {"std_b", 0.2010},
    {NULL, 0},
};

/* Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers, arXiv
 * 2104.02057, and its published code: ResNet-50 for 100 epochs. The two views' probabilities of
 * blur and solarizing are BYOL's. */
static const mo_override_t moco_v3[] = {
    {"arch", MOCO_ARCH_RESNET50},
    {"zero_init_residual", 1},
    {"freeze_patch", 1},
    {"loss", MOCO_LOSS_BATCH},
    {"loss_scale", MOCO_LOSS_SCALE_2T},
    {"symmetric", 1},
    {"predictor", 1},
    {"temperature", 1},
    {"key_momentum", 0.99},
    {"momentum_schedule", MOCO_MOMENTUM_COSINE},
    {"head", MOCO_HEAD_MLP_V3},
    {"head_width", 4096},
    {"dimension", 256},
    {"batch_size", 4096},
    {"optimizer", MOCO_OPTIMIZER_LARS},
    {"base_lr", 0.6},
    {"weight_decay", 1e-6},
    {"sgd_momentum", 0.9},
    {"lars_trust", 0.001},
    {"epochs", 100},
    {"warmup_epochs", 10},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"schedule_unit", MOCO_SCHEDULE_PER_STEP},
    {"views", MOCO_VIEWS_V3},
    {"crop_min_area", 0.2},
    {"jitter_saturation", 0.2},
    {"blur_probability", 1},
    {"blur_probability_2", 0.1},
    {"solarize_probability", 0},
    {"solarize_probability_2", 0.2},
    {NULL, 0},
};

/* The same paper: ViT-S/16 for 300 epochs, with a patch projection that is not trained. */
static const mo_override_t moco_v3_vit[] = {
    {"arch", MOCO_ARCH_VIT_SMALL},
    {"zero_init_residual", 0},
    {"temperature", 0.2},
    {"optimizer", MOCO_OPTIMIZER_ADAMW},
    {"base_lr", 1.5e-4},
    {"weight_decay", 0.1},
    {"epochs", 300},
    {"warmup_epochs", 40},
    {"crop_min_area", 0.08},
    {NULL, 0},
};

/* Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, arXiv
 * 2002.05709: the paper's values (sections 2, 3, 4.2 and 5.1, appendices A and B.6) for ResNet-50
 * and 100 epochs. Where the paper says nothing the value is that of its published code, and marked.
 * docs/architecture.md compares the two. There is no key encoder. */
static const mo_override_t simclr[] = {
    {"arch", MOCO_ARCH_RESNET50},
    {"zero_init_residual", 1}, /* code */
    {"loss", MOCO_LOSS_NT_XENT},
    {"temperature", 0.1},
    {"key_momentum", 0},
    {"head", MOCO_HEAD_MLP_SIMCLR}, /* its batch norms: code */
    {"head_layers", 2},
    {"dimension", 128},
    {"batch_size", 4096},
    {"optimizer", MOCO_OPTIMIZER_LARS_SIMCLR}, /* the rate inside the momentum: code */
    {"base_lr", 0.3},
    {"weight_decay", 1e-6},
    {"sgd_momentum", 0.9},  /* code */
    {"lars_trust", 0.001}, /* code */
    {"epochs", 100},
    {"warmup_epochs", 10},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"schedule_unit", MOCO_SCHEDULE_PER_STEP}, /* code */
    {"views", MOCO_VIEWS_SIMCLR},
    {"resize_filter", MOCO_FILTER_BICUBIC}, /* code */
    {"crop_tries", 100},                    /* code */
    {"blur_form", MOCO_BLUR_GAUSSIAN},
    {"crop_min_area", 0.08},
    {"jitter_brightness", 0.8},
    {"jitter_contrast", 0.8},
    {"jitter_saturation", 0.8},
    {"jitter_hue", 0.2},
    {"jitter_probability", 0.8},
    {"blur_probability", 0.5},
    {"mean_r", 0}, /* code: images are not normalised */
    {"mean_g", 0},
    {"mean_b", 0},
    {"std_r", 1},
    {"std_g", 1},
    {"std_b", 1},
    {NULL, 0},
};

/* The published code (google-research/simclr, commit 383d414) where it differs from the paper: both
 * directions of the loss are added, the head has three layers, the decay is that of its command for
 * ImageNet, and a crop draws its height. */
static const mo_override_t simclr_code[] = {
    {"loss_scale", MOCO_LOSS_SCALE_TWO},
    {"head_layers", 3},
    {"weight_decay", 1e-4},
    {"views", MOCO_VIEWS_SIMCLR_CODE},
    {NULL, 0},
};

/* Grill et al., Bootstrap Your Own Latent, arXiv 2006.07733, and its published code (the presets of
 * 300 epochs): ResNet-50, batch norm over all of the batch. Rate 0.3, decay 1e-6 and target decay
 * 0.99 are those of 300 epochs; 10 epochs of warm-up, LARS without decay and trust for biases and
 * batch norms (section 3.3); heads 4096-256 (section 3.3); views of table 6 in appendix B. The
 * target network moves behind the online network in the same step. */
static const mo_override_t byol[] = {
    {"arch", MOCO_ARCH_RESNET50},
    {"zero_init_residual", 1},
    {"loss", MOCO_LOSS_REGRESSION},
    {"symmetric", 1},
    {"predictor", 1},
    {"key_momentum", 0.99},
    {"momentum_schedule", MOCO_MOMENTUM_COSINE},
    {"head", MOCO_HEAD_MLP_BYOL},
    {"head_width", 4096},
    {"dimension", 256},
    {"batch_size", 4096},
    {"optimizer", MOCO_OPTIMIZER_LARS},
    {"base_lr", 0.3},
    {"weight_decay", 1e-6},
    {"sgd_momentum", 0.9},
    {"lars_trust", 0.001},
    {"epochs", 300},
    {"warmup_epochs", 10},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"schedule_unit", MOCO_SCHEDULE_PER_STEP},
    {"views", MOCO_VIEWS_V3},
    {"resize_filter", MOCO_FILTER_BICUBIC},
    {"blur_form", MOCO_BLUR_GAUSSIAN},
    {"crop_min_area", 0.08},
    {"jitter_brightness", 0.4},
    {"jitter_contrast", 0.4},
    {"jitter_saturation", 0.2},
    {"jitter_hue", 0.1},
    {"jitter_probability", 0.8},
    {"gray_probability", 0.2},
    {"blur_probability", 1},
    {"blur_probability_2", 0.1},
    {"solarize_probability", 0},
    {"solarize_probability_2", 0.2},
    {NULL, 0},
};
/* clang-format on */

#define BASE(number) &mo_recipes[number]

/* By number. */
const mo_preset_t mo_recipes[] = {
    [MOCO_RECIPE_V1] = {MOCO_RECIPE_V1, "moco-v1", "arXiv 1911.05722", NULL, moco_v1},
    [MOCO_RECIPE_V2] = {MOCO_RECIPE_V2, "moco-v2", "arXiv 2003.04297", BASE(MOCO_RECIPE_V1), moco_v2},
    [MOCO_RECIPE_CIFAR] = {MOCO_RECIPE_CIFAR, "moco-cifar", "the CIFAR-10 demonstration of MoCo's authors",
                           BASE(MOCO_RECIPE_V1), moco_cifar},
    [MOCO_RECIPE_V3] = {MOCO_RECIPE_V3, "moco-v3", "arXiv 2104.02057, ResNet-50", NULL, moco_v3},
    [MOCO_RECIPE_SIMCLR] = {MOCO_RECIPE_SIMCLR, "simclr", "arXiv 2002.05709, as the paper says", NULL, simclr},
    [MOCO_RECIPE_V3_VIT] = {MOCO_RECIPE_V3_VIT, "moco-v3-vit", "arXiv 2104.02057, ViT-S/16", BASE(MOCO_RECIPE_V3),
                            moco_v3_vit},
    [MOCO_RECIPE_BYOL] = {MOCO_RECIPE_BYOL, "byol", "arXiv 2006.07733", NULL, byol},
    [MOCO_RECIPE_SIMCLR_CODE] = {MOCO_RECIPE_SIMCLR_CODE, "simclr-code", "the published code of arXiv 2002.05709",
                                 BASE(MOCO_RECIPE_SIMCLR), simclr_code},
    {.name = NULL},
};

int32_t mo_recipe_count(void)
{
    return mo_preset_count(&mo_trainer_options);
}

int32_t mo_recipe_number(const char *name)
{
    const mo_preset_t *recipe = mo_preset_named(&mo_trainer_options, name);
    return recipe != NULL ? recipe->number : -1;
}

const char *mo_recipe_name(int32_t number)
{
    const mo_preset_t *recipe = mo_preset_find(&mo_trainer_options, number);
    return recipe != NULL ? recipe->name : NULL;
}
