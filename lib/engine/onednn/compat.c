/* What oneDNN 2.6 and 3.x share; compat_2.c and compat_3.c have the rest. */
#include "engine/onednn/compat_internal.h"

#include <pthread.h>
#include <stdio.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#include <sys/prctl.h>
#endif

const char *mo_dnnl_status_name(dnnl_status_t status)
{
    static const char *const names[] = {"success",       "out of memory",           "invalid arguments",
                                        "unimplemented", "no more implementations", "runtime error",
                                        "not required"};
    return (unsigned)status < sizeof names / sizeof names[0] ? names[status] : "unknown";
}

/* ---- the instruction set ---- */

static char made_name[40]; /* of a set that has no name in a table */

#if defined(__aarch64__)

/* The numbers that oneDNN has for AArch64 are not in its headers, and mean other sets than on x86.
 * 0x1f is what versions of 2.x call 0x27. */
static const mo_isa_t isas[] = {{0x1, "ASIMD"},    {0x3, "SVE_128"},  {0x7, "SVE_256"}, {0xf, "SVE_384"},
                                {0x1f, "SVE_512"}, {0x27, "SVE_512"}, {0, NULL}};

/* oneDNN tells nothing, as where it was built for no instructions of its own: what the processor
 * has, which the libraries behind it may use. */
static void name_no_isa(void)
{
    const unsigned long has = getauxval(AT_HWCAP);
    const int bytes = has & HWCAP_SVE ? prctl(PR_SVE_GET_VL) & PR_SVE_VL_LEN_MASK : 0;
    if (has & HWCAP_SVE)
        snprintf(made_name, sizeof made_name, "processor with SVE_%d", 8 * bytes);
    else
        snprintf(made_name, sizeof made_name, has & HWCAP_ASIMD ? "processor with ASIMD" : "AARCH64");
}

#else

#define isas mo_isas

static void name_no_isa(void)
{
#if defined(__x86_64__) || defined(__i386__)
    snprintf(made_name, sizeof made_name, "below SSE41");
#else
    snprintf(made_name, sizeof made_name, "generic");
#endif
}

#endif

static void make_name(void)
{
    const int isa = (int)dnnl_get_effective_cpu_isa();
    if (isa == 0)
        name_no_isa();
    else
        snprintf(made_name, sizeof made_name, "number 0x%x", (unsigned)isa);
}

const char *mo_isa_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const int isa = (int)dnnl_get_effective_cpu_isa();
    for (const mo_isa_t *i = isas; i->name != NULL; i++)
        if (i->number == isa)
            return i->name;
    pthread_once(&once, make_name);
    return made_name;
}

/* ---- attributes ---- */

dnnl_status_t mo_attr_begin(mo_attr_t *attr)
{
    attr->attr = NULL;
    attr->ops = NULL;
    RETURN_IF(dnnl_primitive_attr_create(&attr->attr));
    RETURN_IF(dnnl_primitive_attr_set_scratchpad_mode(attr->attr, dnnl_scratchpad_mode_user));
    return dnnl_post_ops_create(&attr->ops);
}

dnnl_status_t mo_attr_binary(mo_attr_t *attr, dnnl_alg_kind_t alg, mo_cmd_t src1)
{
    return dnnl_post_ops_append_binary(attr->ops, alg, src1);
}

dnnl_status_t mo_attr_end(mo_attr_t *attr)
{
    return dnnl_primitive_attr_set_post_ops(attr->attr, attr->ops);
}

void mo_attr_free(mo_attr_t *attr)
{
    if (attr->ops != NULL)
        dnnl_post_ops_destroy(attr->ops);
    if (attr->attr != NULL)
        dnnl_primitive_attr_destroy(attr->attr);
    attr->attr = NULL;
    attr->ops = NULL;
}

mo_window_dims_t mo_window_dims(const mo_window_t *w)
{
    return (mo_window_dims_t){.strides = {w->stride, w->stride},
                              .kernel = {w->kernel_h, w->kernel_w},
                              .dilates = {0, 0},
                              .pads = {w->pad - w->inside_above, w->pad},
                              .ends = {w->pad - w->inside_below, w->pad}};
}

dnnl_status_t mo_has_winograd(dnnl_engine_t e, int *has)
{
    static const dnnl_dims_t image = {1, 64, 28, 28}, kernel = {64, 64, 3, 3};
    const mo_window_t w = {.kernel_h = 3, .kernel_w = 3, .stride = 1, .pad = 1};
    mo_md_t data = NULL, weights = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = mo_md_tag(&data, 4, image, dnnl_f32, dnnl_nChw16c);
    if (status == dnnl_success)
        status = mo_md_tag(&weights, 4, kernel, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = mo_pd_winograd(&pd, e, data, weights, NULL, data, &w, NULL);
    *has = status == dnnl_success;
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_md_free(data);
    mo_md_free(weights);
    return status == dnnl_unimplemented ? dnnl_success : status;
}

const char *mo_pd_name(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name != NULL ? name
                                                                                                             : "";
}

int mo_pd_posts(const_dnnl_primitive_desc_t pd, mo_post_t posts[MO_POSTS])
{
    const_dnnl_primitive_attr_t attr = NULL;
    const_dnnl_post_ops_t ops = NULL;
    if (dnnl_primitive_desc_get_attr(pd, &attr) != dnnl_success ||
        dnnl_primitive_attr_get_post_ops(attr, &ops) != dnnl_success)
        return -1;
    const int count = dnnl_post_ops_len(ops);
    for (int i = 0; i < count; i++) {
        const dnnl_primitive_kind_t kind = dnnl_post_ops_get_kind(ops, i);
        if (i == MO_POSTS || (kind != dnnl_sum && kind != dnnl_eltwise))
            return -1;
        posts[i].is_sum = kind == dnnl_sum;
        if ((kind == dnnl_sum ? mo_post_sum(ops, i, &posts[i]) : mo_post_eltwise(ops, i, &posts[i])) != dnnl_success)
            return -1;
    }
    return count;
}

dnnl_status_t mo_pd_reorder(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t dst, mo_cattr_t attr)
{
    return dnnl_reorder_primitive_desc_create(pd, src, e, dst, e, attr);
}
