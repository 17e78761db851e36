"""Training checkpoints of MoCo v3 that go on training here: a run of three steps in PyTorch, its file as the published
program writes it (module, LARS's or AdamW's state by the number of the parameter), converted; both sides then make
three more steps. The yardstick is the float64 run that goes on from the same numbers.
"""
import copy
import os
import sys

import numpy as np
import torch

import binding
import family
import reference
import scenario
import tensors
import test_family
import torch_files
from compare import Verdict
from family import Config
from reorder import DRAWS, ORDERS
from test_published import Method

SEED, BEFORE, AFTER = 7, 3, 3
TOLERANCE = 1e-4
SMALL = {**test_family.SMALL, "head_width": 48, "lr": 0.1, "key_momentum": 0.9}
CASES = {
    "ResNet, LARS, zip": (Config(temperature=1.0, weight_decay=1e-6, **{**SMALL, "bn_groups": 1}), {}, "zip"),
    "ResNet, LARS, 4 devices, legacy": (Config(temperature=1.0, weight_decay=1e-6, **SMALL), {}, "legacy"),
    "ViT, AdamW, zip": (Config(recipe="moco-v3-vit", arch="vit_small", stem="imagenet", temperature=0.2,
                               weight_decay=0.1, optimizer="adamw",
                               **{**SMALL, "bn_groups": 1, "width": 0.125, "lr": 1e-3}),
                        {"patch_size": 8, "vit_depth": 2, "vit_heads": 4}, "zip"),
}
DECIDED = ("arch", "width", "stem", "head", "dimension", "head_width", "head_layers")  # by the file
DECIDED_VIT = ("image_size", "patch_size", "vit_depth")


class Lars(torch.optim.Optimizer):
    """The published class's groups and state; its arithmetic is family.Lars's."""

    def __init__(self, parameters, config):
        super().__init__(parameters, dict(lr=config.lr, weight_decay=config.weight_decay, momentum=config.sgd_momentum,
                                          trust_coefficient=config.trust))


def module_of(run):
    """MoCo v3's module with the numbers of the run."""
    module = Method(run.config)
    own = {f"base_encoder.{n}": t for n, t in run.query.body.state_dict().items()}
    own.update((f"momentum_encoder.{n}", t) for n, t in run.key.body.state_dict().items())
    own.update((f"predictor.{n}", t) for n, t in run.predictor.state_dict().items())
    state = module.state_dict()
    counted = {n: torch.tensor(2 * run.steps) for n in state if n.endswith("num_batches_tracked")}
    module.load_state_dict({n: counted[n] if n in counted else own[n] for n in state}, strict=True)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith("momentum_encoder.") and "pos_embed" not in name
                                 and "patch_embed" not in name)
    return module


def optimizer_of(run, module):
    """PyTorch's own state dictionary: nothing for what has no gradient, but a number for every parameter."""
    c, parameters = run.config, dict(module.named_parameters())
    if c.optimizer == "lars":
        made = Lars(module.parameters(), c)
        state = {n: {"mu": v} for n, v in run.optimizer.velocity.items()}
    else:
        made = torch.optim.AdamW(module.parameters(), c.lr, c.betas, weight_decay=c.weight_decay)
        state = {n: run.optimizer.inner.state[p] for n, p in run.named}
    for name, entry in state.items():
        full = name if name.startswith("predictor.") else "base_encoder." + name
        made.state[parameters[full]] = {k: copy.deepcopy(v) for k, v in entry.items()}
    return made.state_dict()


def reference_file(run, epoch):
    module = module_of(run)
    return {"epoch": epoch, "arch": run.config.arch, "optimizer": optimizer_of(run, module), "scaler": {},
            "state_dict": {f"module.{n}": t for n, t in module.state_dict().items()}}


def continued(run, dtype, *draw):
    """The same run at the same step, in another type or as another draw of float32's rounding."""
    config, start = run.config, {}
    for prefix, module in (("base_encoder.", run.query.body), ("momentum_encoder.", run.key.body),
                           ("predictor.", run.predictor)):
        start.update((prefix + n, t.double().numpy()) for n, t in module.state_dict().items())
    other = family.Trainer(config, start, dtype, *draw)
    other.steps = run.steps
    for (name, mine), (_, theirs) in zip(other.named, run.named):
        if config.optimizer == "lars":
            other.optimizer.velocity[name] = run.optimizer.velocity[name].to(dtype, copy=True)
        else:
            other.optimizer.inner.state[mine] = {k: v.clone() if k == "step" else v.to(dtype, copy=True)
                                                 for k, v in run.optimizer.inner.state[theirs].items()}
    return other


def with_gradient(state):
    """Without what has no gradient but rounding, which AdamW divides by its size: a ViT's last shift, in front of a batch
    norm, and the keys' biases, which move all scores of a row alike."""
    parts = {n: np.delete(t, np.s_[len(t) // 3:2 * len(t) // 3]) if n.endswith("attn.qkv.bias") else t
             for n, t in state.items()}
    return {n: t for n, t in parts.items() if not n.endswith(".norm.bias")}


def on_scale(state):
    """A running mean may vanish: it is compared on the scale of its standard deviation."""
    return {n: t + np.sqrt(state[n.replace("running_mean", "running_var")]) if n.endswith("running_mean") else t
            for n, t in state.items()}


def compared(path, states):
    """Ours and the references' tensors by the names that a checkpoint has."""
    ours = {n: t.astype(np.float64) for n, t in tensors.read(path)[0].items() if not n.endswith("num_batches_tracked")}
    kept = [{n: t for n, t in on_scale(state).items() if n in ours} for state in states]
    return on_scale(ours), kept


def go_on(verdict, title, config, more, container):
    folder = scenario.Folder()
    trainer, start = test_family.start(config, folder, more)
    trainer.close()
    run = family.Trainer(config, start, torch.float32)
    for step in range(BEFORE):
        run.step(*reference.random_views(config, 20 + step), None)
    path, out = folder.path("checkpoint.pth.tar"), folder.path("converted.safetensors")
    torch_files.save(path, reference_file(run, 2), container)
    values = test_family.options(config, more)
    for name in DECIDED + (DECIDED_VIT if config.is_vit else ()):
        values.pop(name, None)
    report = binding.convert(path, out, "training", binding.make_options(config.recipe, seed=SEED, **values))
    state, metadata = tensors.read(out)
    ours, (wanted,) = compared(out, [run.state()])
    before = {f"momentum_encoder.{n}": t.detach().double().numpy() for n, t in run.key.body.named_parameters()}
    others = [n for n in ours if n not in before and not np.array_equal(ours[n], wanted[n])]
    keys = [n for n in ours if n in before]
    off, moved = (np.sqrt(sum(np.linalg.norm(ours[n] - old[n]) ** 2 for n in keys)) for old in (wanted, before))
    verdict.true(f"{title}: {len(ours) - len(keys)} tensors are equal to PyTorch's; others: {others[:3]}",
                 not others and set(ours) == set(wanted) and len(ours) - len(keys) > 60)
    verdict.true(f"{title}: {len(keys)} tensors of the key encoder are one update further: moved {moved:.1e}, off by "
                 f"{off:.1e} (at most 1/2000)", off < moved / 2000)
    over = report["ignored"]
    verdict.true(f"{title}: step {metadata['step']}, epoch {metadata['epoch']}; {report['taken']} taken, ignored {over}, "
                 f"missing {report['missing']}; {metadata['origin'][-40:]}",
                 (metadata["step"], metadata["epoch"]) == (str(BEFORE), "2") and not over and not report["missing"])
    exact, own = continued(run, torch.float64), [continued(run, torch.float32, *draw) for draw in (ORDERS if config.is_vit else DRAWS)]
    with binding.Trainer.load(out) as trainer:
        for step in range(BEFORE, BEFORE + AFTER):
            views = test_family.choose_views(own[0], exact, config, step, None)
            trainer.push(*views)
            report, theirs = trainer.step(), exact.step(*views, None)
            for each in own:
                each.step(*views, None)
            verdict.close(f"{title}, step {step + 1}: loss", report.loss, theirs["loss"], TOLERANCE)
            verdict.close(f"{title}, step {step + 1}: rate", report.lr, theirs["lr"], 1e-9)
            trainer.save(out)
            ours, states = compared(out, [each.state() for each in (exact, *own)])
            ours, *states = (with_gradient(each) for each in (ours, *states))
            verdict.tensors(f"{title}, step {step + 1}", ours, states[0], states[1:], TOLERANCE)


def loss_offset():
    """Where the field `loss` lies in moco_trainer_options_t."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))
    import moco
    return moco.TrainerOptions.loss.offset


def guesses(verdict):
    """Without options the recipe, the optimizer and its settings are the file's; what is absent begins anew."""
    folder = scenario.Folder()
    path, out = folder.path("checkpoint.pth.tar"), folder.path("converted.safetensors")
    for title, recipe in (("ResNet, LARS, zip", "moco-v3"), ("ViT, AdamW, zip", "moco-v3-vit")):
        config, more, _ = CASES[title]
        trainer, start = test_family.start(config, folder, more)
        trainer.close()
        run = family.Trainer(config, start, torch.float32)
        for step in range(2):
            run.step(*reference.random_views(config, 20 + step), None)
        file = reference_file(run, 3)
        group = file["optimizer"]["param_groups"][0]
        group["weight_decay"] = 0.03125
        group.update({"betas": (0.75, 0.875)} if config.is_vit else {"momentum": 0.75})
        if config.is_vit:  # a loss scaler left a step out; an integer, as PyTorch had it before 1.12
            for entry in file["optimizer"]["state"].values():
                entry["step"] = 1
        report = binding.convert(torch_files.save(path, file, "zip"), out, "training",
                                 **({"vit_heads": 6} if config.is_vit else {}))
        metadata = tensors.read(out)[1]
        made = binding.json.loads(metadata["options"])
        rates = (made["adam_beta1"], made["adam_beta2"]) == (0.75, 0.875) if config.is_vit else \
            made["sgd_momentum"] == 0.75
        verdict.true(f"{title}: step {metadata['step']}; {report['notes'][-2][:90]}",
                     metadata["step"] == ("1" if config.is_vit else "2")
                     and ("AdamW has made 1 updates" in str(report["notes"])) == config.is_vit)
        verdict.true(f"{title}: {made['recipe']} of {made['arch']}, {made['optimizer']}, decay {made['weight_decay']}; "
                     f"{report['notes'][-1][-16:]}",
                     rates and (made["recipe"], made["optimizer"], made["weight_decay"]) ==
                     (recipe, config.optimizer, 0.03125) and made["vit_heads"] == (6 if config.is_vit else 0)
                     and report["missing"] == [] and "in no shape" not in str(report["notes"]))
        less = {n: t for n, t in file["state_dict"].items() if "base_encoder" in n}
        report = binding.convert(torch_files.save(path, {"state_dict": less}, "zip"), out, "training")
        state, _ = tensors.read(out)
        verdict.true(f"{title}, query encoder alone: missing {report['missing']}", len(report["missing"]) == 3
                     and float(np.abs(state["predictor.0.weight"]).max()) > 0
                     and all(np.array_equal(state[f"momentum_encoder.{n}"], state[f"base_encoder.{n}"])
                             for n in ("norm.weight" if config.is_vit else "bn1.weight",)))
        wrong = {**file["state_dict"], "module.predictor.3.weight": torch.zeros(3, 3)}
        for words, options, state in (("predictor.3.weight", None, wrong), ("moco-v3", "moco-v2", file["state_dict"])):
            try:
                binding.convert(torch_files.save(path, {"state_dict": state}, "zip"), out, "training",
                                binding.make_options(options) if options else None)
                verdict.true(f"{title}: refused for {words}", False)
            except binding.MocoError as error:
                verdict.true(f"{title}: {error}", words in str(error))
        none = binding.make_options(recipe)
        place = loss_offset()
        none[place:place + 4] = (99).to_bytes(4, "little")  # in the struct, where no range is checked
        try:
            binding.convert(torch_files.save(path, {"state_dict": file["state_dict"]}, "zip"), out, "training", none)
            verdict.true(f"{title}: refused for a loss that does not exist", False)
        except binding.MocoError as error:
            verdict.true(f"{title}: {error}", "wanted options of moco-v3" in str(error))


def main(names):
    torch.set_num_threads(1)
    verdict = Verdict("import of v3")
    for title, case in CASES.items():
        if not names or any(n in title for n in names):
            print(title)
            go_on(verdict, title, *case)
    if not names or "guesses" in names:
        print(guesses.__doc__)
        guesses(verdict)
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
