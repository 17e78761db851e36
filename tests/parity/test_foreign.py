"""Checkpoints of other programs, both ways: files that PyTorch writes here in both of its containers give the embeddings
that PyTorch computes; what the library writes loads strictly into PyTorch's modules; a reference training run goes on in
the library. Programs in files are refused without effect.
"""
import collections
import dataclasses
import itertools
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import torch

import binding
import family
import reference
import scenario
import tensors
import torch_files
from compare import Verdict
from reference import Config

TOLERANCE = 1e-4
CONTAINERS = ("zip", "legacy")
SMALL = dict(batch_size=3, bn_groups=1, dimension=16)
V1 = Config(arch="resnet18", stem="imagenet", image_size=224, width=0.5, **SMALL)
V2 = Config(arch="resnet50", stem="imagenet", head="mlp", image_size=224, width=0.25, batch_size=2, dimension=24)
DEMO = Config(arch="resnet18", stem="cifar", image_size=32, width=0.5, **SMALL)
FAMILY = {
    "ResNet-50": family.Config(arch="resnet50", stem="imagenet", image_size=224, batch_size=2, head_width=48, dimension=24),
    "ResNet-18, three layers": family.Config(arch="resnet18", stem="cifar", image_size=32, batch_size=3, head_layers=3,
                                             head_width=0, dimension=16),
    "SimCLR's head": family.Config(arch="resnet18", stem="cifar", image_size=32, batch_size=3, head="mlp-simclr",
                                   head_width=0, dimension=16),
    "BYOL's head": family.Config(arch="resnet18", stem="cifar", image_size=32, batch_size=3, head="mlp-byol",
                                 head_width=48, dimension=16),
    "ViT": family.Config(arch="vit_small", image_size=32, batch_size=3, head_width=80, dimension=20, heads=4),
    "ViT, conv stem": family.Config(arch="vit_conv_small", image_size=32, patch=16, batch_size=3, channels=96,
                                    head_width=64, dimension=20, heads=6),
    "ViT, published heads": family.Config(arch="vit_small", image_size=32, batch_size=3, channels=96, head_width=80,
                                          dimension=20, heads=12),
    "ViT-BN": family.Config(arch="vit_small", image_size=32, batch_size=3, channels=96, head_width=80, dimension=20,
                            heads=12, vit_norm="batch"),
}
DEEP = Config(arch="resnet34", stem="cifar", image_size=32, width=0.3, **SMALL)


KNOWN = {}  # rows of networks that come in many files


@torch.no_grad()
def wanted_rows(encoder, images, dtype, head=None):
    key = (id(encoder), images.tobytes(), dtype, head is None)
    if key not in KNOWN:
        KNOWN[key] = (encoder, compute_rows(encoder, images, dtype, head))  # kept, so that no other gets its id
    return KNOWN[key][1]


@torch.no_grad()
def compute_rows(encoder, images, dtype, head):
    encoder = torch_files.copy.deepcopy(encoder).to(dtype).eval()
    images = torch.tensor(images, dtype=dtype)
    return {"backbone": encoder.backbone(images).double().numpy(),
            "projection": reference.normalise(head(encoder.backbone(images)) if head else
                                              encoder(images)).double().numpy()}


def check_model(verdict, title, path, config, encoder, taps=("backbone", "projection"), tolerance=TOLERANCE, head=None):
    """The library's embeddings of the file against PyTorch's of the network that was saved. Returns the model's info."""
    images = reference.random_views(config, 3)[0]
    exact, own = (wanted_rows(encoder, images, dtype, head) for dtype in (torch.float64, torch.float32))
    with binding.Model.load(path) as model:
        info = model.info()
        for tap in ("backbone", "projection"):
            if tap in taps:
                rows = model.embed(tap, images)
                worst = max(np.linalg.norm(r - e) / np.linalg.norm(e) for r, e in zip(rows, exact[tap]))
                peer = max(np.linalg.norm(r - e) / np.linalg.norm(e) for r, e in zip(own[tap], exact[tap]))
                verdict.true(f"{title}, {tap}: {worst:.1e} (PyTorch float32 {peer:.1e}, at most {tolerance:.0e})",
                             rows.shape == exact[tap].shape and worst <= tolerance)
        verdict.quiet(f"{title}: taps {info['projection_dimension']}",
                      (info["projection_dimension"] > 0) == ("projection" in taps))
    widths = [channels(64 << s, config.width) for s in range(4)]
    verdict.quiet(f"{title}: described as {info}",
                  (info["arch"], info["stem"], info["size"]) == (config.arch, config.stem, config.image_size)
                  and [channels(64 << s, info["width"]) for s in range(4)] == widths)
    return info


def channels(base, width):
    """As include/moco/trainer.h has it: halves go up."""
    return max(16, int(base * width / 16 + 0.5) * 16)


# ---- reading ----

def reference_layouts(verdict, folder):
    """The published programs' own files."""
    for container in CONTAINERS:
        path = folder.path("file.pth.tar")
        q, k = torch_files.random_encoder(V2, 1), torch_files.random_encoder(V2, 2)
        queue = torch.nn.functional.normalize(torch.randn(24, 64), dim=0)
        file = {"epoch": 200, "arch": "resnet50", "optimizer": torch_files.optimizer_state(q, k, {}),
                "state_dict": torch_files.moco_state(torch_files.with_counters(q, 7), torch_files.with_counters(k, 7), queue)}
        info = check_model(verdict, f"{container}, v2", torch_files.save(path, file, container), V2, q)
        source = info["source"]
        names = len(torch_files.with_counters(q))
        verdict.true(f"{container}, v2: report {source['layout']}, {source['taken']} taken, ignored {source['ignored']}",
                     (source["layout"], source["epoch"], source["arch"], source["taken"], info["steps"]) ==
                     ("moco", "200", "resnet50", names, 7)
                     and source["container"] == f"torch {container}" and source["missing"] == []
                     and source["ignored"] == {"state_dict.module.encoder_k.*": names, "state_dict.module.queue": 1,
                                               "state_dict.module.queue_ptr": 1})
        state = {f"module.encoder_q.{n}": t for n, t in q.state_dict().items()}  # query only, without counters
        info = check_model(verdict, f"{container}, v2, query only",
                           torch_files.save(path, {"state_dict": state, "optimizer": None}, container), V2, q)
        verdict.true(f"{container}, query only: missing {info['source']['missing']}",
                     len(info["source"]["missing"]) == 3 and info["steps"] == -1)
        q, k = torch_files.random_encoder(V1, 3), torch_files.random_encoder(V1, 4)
        file = {"epoch": 3, "state_dict": torch_files.moco_state(torch_files.with_counters(q), None), **torch_files.clutter()}
        check_model(verdict, f"{container}, v1 among clutter", torch_files.save(path, file, container), V1, q)
        q, k = torch_files.random_encoder(DEMO, 5), torch_files.random_encoder(DEMO, 6)
        demo = torch_files.moco_state(*(torch_files.demo_names(torch_files.with_counters(e)) for e in (q, k)),
                                      torch.zeros(16, 4096), 0, "")
        info = check_model(verdict, f"{container}, CIFAR demonstration",
                           torch_files.save(path, {"epoch": 5, "state_dict": demo}, container), DEMO, q)
        verdict.true(f"{container}, CIFAR demonstration: transform {info['mean']} {info['eval_resize']}",
                     np.allclose(info["mean"], [0.4914, 0.4822, 0.4465]) and info["eval_resize"] == 32)


def whole_batch_methods(verdict, folder):
    """MoCo v3's, SimCLR's and BYOL's networks: projectors with batch norm, ViTs."""
    path = folder.path("v3.pth.tar")
    for (i, (network, config)), container in itertools.product(enumerate(FAMILY.items()), CONTAINERS):
        title = f"{network}, {container}"
        encoders = [torch_files.random_family(config, 40 + i + k) for k in range(2)]
        states = [torch_files.family_state(e, 12) for e in encoders]
        file = {"epoch": 100, "arch": config.arch, "scaler": {}, "optimizer": {"state": {}, "param_groups": []},
                "state_dict": torch_files.moco_state(*states, roles=("base_encoder", "momentum_encoder"))}
        file["state_dict"]["module.predictor.0.weight"] = torch.zeros(2, 2)
        info = check_family(verdict, f"v3, {title}", torch_files.save(path, file, container), config, encoders[0])
        source = info["source"]
        verdict.true(f"v3, {title}: {source['layout']}, {source['taken']} taken, ignored {source['ignored']}, "
                     f"{source['notes']}", (source["layout"], source["taken"], info["steps"]) == ("moco-v3", len(states[0]),
                     12 if any("tracked" in n for n in states[0]) else -1) and len(source["ignored"]) == 2
                     and info["head"] == config.head and source["container"] == f"torch {container}"
                     and source["names"] == ("timm" if config.is_vit else "torchvision")
                     and info.get("vit_norm") == (config.vit_norm if config.is_vit else None))
        if config.is_vit:  # no shape tells the heads: the published number
            verdict.true(f"v3, {title}: {info['vit_heads']} heads taken, {source['notes']}", info["vit_heads"] == 12
                         and source["notes"] == ["attention heads are in no shape: 12 taken"])
        out = folder.path("out.safetensors")
        report = binding.convert(path, out, "timm", encoder=1, vit_heads=config.heads if config.is_vit else 0)
        loaded, metadata = tensors.read(out)
        body = {n: t for n, t in states[1].items() if not n.startswith(("fc.", "head."))}
        verdict.true(f"v3, {title}, key encoder to timm: {len(loaded)} tensors", set(loaded) == set(body) and
                     all(np.array_equal(loaded[n], body[n].numpy()) for n in body) and report["encoder"].endswith(
                         "momentum_encoder.") and ("vit_heads" in metadata) == config.is_vit)
        check_family(verdict, f"v3, {title}, key encoder out and in", out, config, encoders[1], ("backbone",), told=True)
    config = dataclasses.replace(FAMILY["ViT"], channels=64, heads=4)  # not to be had with 12 heads
    encoder = torch_files.random_family(config, 49)
    torch_files.save(path, {"state_dict": torch_files.moco_state(torch_files.family_state(encoder), None,
                                                                 roles=("base_encoder", ""))}, "zip")
    unknown, out = binding.file_info(path)["unknown"], folder.path("told.safetensors")
    notes = binding.convert(path, out, vit_heads=4)["notes"]
    check_family(verdict, "v3, ViT of 64 channels, 4 heads as told", out, config, encoder, told=True)
    verdict.true(f"v3, ViT of 64 channels: {notes}; untold: {unknown}", notes == [] and "64 channels, 12 heads" in unknown)
    try:
        binding.convert(path, out, vit_heads=5)
        verdict.true("five heads of 64 channels are refused", False)
    except binding.MocoError as error:
        verdict.true(f"v3, ViT of 64 channels: {error}", error.name == "MOCO_ERR_ARGUMENT" and "is 5, wanted" in str(error))
    config = dataclasses.replace(FAMILY["ViT"], channels=128, heads=2)  # timm's ViTs: 64 channels a head
    encoder = torch_files.random_family(config, 50)
    state = {n: t for n, t in torch_files.family_state(encoder).items() if not n.startswith("head.")}
    classifier = {**state, "head.weight": torch.zeros(1000, 128), "head.bias": torch.zeros(1000)}
    info = check_family(verdict, "timm, ViT", torch_files.save(path, {"model": classifier}, "zip"), config, encoder,
                        ("backbone",), told=True)
    verdict.true(f"timm, ViT: {info['source']['notes']}", info["vit_heads"] == 2 and len(info["source"]["notes"]) == 2)
    for words, change in (("class token and a square", {"pos_embed": torch.zeros(1, 6, 128)}),
                          ("is not one that this version has", {"blocks.0.norm1.weight": None}),
                          ("[channels,3,patch,patch]", {"patch_embed.proj.weight": torch.zeros(128, 3, 8, 4)})):
        made = {n: t for n, t in {**state, **change}.items() if t is not None}
        unknown = binding.file_info(torch_files.save(path, made, "zip"))["unknown"]
        verdict.true(f"refused: {unknown}", words in unknown)


@torch.no_grad()
def check_family(verdict, title, path, config, encoder, taps=("backbone", "projection"), told=False):
    """The file read directly. A ViT of other than the published 12 heads is converted with its number first, unless the
    file has `told` it."""
    images, read = torch_files.views_of(config), path
    if config.is_vit and config.heads != 12 and not told:
        read = path + ".told"
        binding.convert(path, read, vit_heads=config.heads)
    with binding.Model.load(path) as model:
        info = model.info()
    with binding.Model.load(read) as model:
        rows = {tap: model.embed(tap, images) for tap in taps}
    exact = torch_files.copy.deepcopy(encoder).double().eval()
    wanted = {"backbone": exact.backbone(torch.tensor(images).double())}
    wanted["projection"] = reference.normalise(exact.head(wanted["backbone"]))
    for tap in taps:
        worst = max(np.linalg.norm(r - e) / np.linalg.norm(e) for r, e in zip(rows[tap], wanted[tap].numpy()))
        verdict.true(f"{title}, {tap}: {worst:.1e} (at most {TOLERANCE:.0e})",
                     rows[tap].shape == tuple(wanted[tap].shape) and worst <= TOLERANCE)
    return info


def other_layouts(verdict, folder):
    path = folder.path("file.pth")
    encoder = torch_files.random_encoder(DEEP, 8)
    state = torch_files.with_counters(encoder, 11)
    backbone = {n: t for n, t in state.items() if not n.startswith("fc.")}
    classifier = {**backbone, "fc.weight": torch.randn(1000, 160), "fc.bias": torch.randn(1000)}
    ten = {**backbone, "fc.weight": torch.randn(10, 160), "fc.bias": torch.randn(10)}
    bare = ("backbone",)
    files = {
        "torchvision": (classifier, bare),
        "torchvision under 'state_dict'": ({"state_dict": classifier}, bare),
        "linear evaluation": ({"epoch": 90, "best_acc1": torch.tensor(67.5),
                               "state_dict": {f"module.{n}": t for n, t in ten.items()}}, bare),
        "backbone under 'model'": ({"model": backbone}, bare),
        "with a projection": (state, ("backbone", "projection")),
        "teacher and student": ({"student": {"x": torch.ones(1)},
                                 "teacher": {f"backbone.{n}": t for n, t in backbone.items()}}, bare),
        "parameters": (dict(torch_files.plain(encoder).named_parameters()) | dict(encoder.named_buffers()),
                       ("backbone", "projection")),
        "channels last": ({n: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
                           for n, t in state.items()}, ("backbone", "projection")),
        "double": ({n: t.double() if t.is_floating_point() else t.int() for n, t in state.items()},
                   ("backbone", "projection")),
        "pickle protocol 4": (state, ("backbone", "projection")),
    }
    flat = torch.cat([t.reshape(-1).float() for t in state.values()])  # every tensor a view of one storage, some turned
    views, at = collections.OrderedDict(), 0
    for name, tensor in state.items():
        piece = flat[at:at + tensor.numel()].view(tensor.shape)
        if tensor.dim() == 2:
            flat[at:at + tensor.numel()] = tensor.t().reshape(-1)
            piece = flat[at:at + tensor.numel()].view(tensor.shape[1], tensor.shape[0]).t()
        views[name], at = piece, at + tensor.numel()
    files["views of one storage"] = ({n: t for n, t in views.items() if not n.endswith("tracked")},
                                     ("backbone", "projection"))
    for title, (file, taps) in files.items():
        for container in CONTAINERS:
            if "protocol" in title:
                torch.save(file, path, pickle_protocol=4, _use_new_zipfile_serialization=container == "zip")
            else:
                torch_files.save(path, file, container)
            check_model(verdict, f"{container}, {title}", path, DEEP, encoder, taps)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = torch_files.copy.deepcopy(encoder).to(dtype)
        torch_files.save(path, rounded.state_dict(), "zip")
        check_model(verdict, f"zip, {dtype}", path, DEEP, rounded.float())
    os.rename(path, folder.path("named.safetensors"))  # the content decides, not the name
    check_model(verdict, "under another suffix", folder.path("named.safetensors"), DEEP, rounded.float())


def shapes_alone(verdict, folder):
    """The network from its shapes: every ResNet, widths on both sides of the rounding."""
    path = folder.path("shapes.pth")
    blocks = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
              "resnet152": (3, 8, 36, 3)}

    def write(arch, width, kernel=7, change=()):
        planes = [channels(64 << s, width) for s in range(4)]
        state = {"conv1.weight": torch.zeros(planes[0], 3, kernel, kernel)}
        for stage in range(4):
            for block in range(blocks[arch][stage]):
                state[f"layer{stage + 1}.{block}.conv1.weight"] = torch.zeros(planes[stage], 1, 1, 1)
                if arch not in ("resnet18", "resnet34"):
                    state[f"layer{stage + 1}.{block}.conv3.weight"] = torch.zeros(4 * planes[stage], 1, 1, 1)
        state.update(change)
        torch.save({n: t for n, t in state.items() if t is not None}, path)
        return planes, binding.file_info(path)

    good = True
    for arch in blocks:
        for width in (0.0625, 0.1, 0.125, 0.17, 0.25, 0.3, 0.5, 0.77, 1, 1.13, 1.99, 2, 4, 8):
            planes, info = write(arch, width)
            model = info.get("model", {"arch": info.get("unknown"), "width": 0})
            fits = [channels(64 << s, model["width"]) for s in range(4)] == planes
            if (model["arch"], fits) != (arch, True) or (width in (0.25, 0.5, 1, 2, 4, 8) and model["width"] != width):
                print(f"  {arch} {width}: {info}")
                good = False
    verdict.true("five architectures and fourteen widths from their shapes", good)
    zeros = torch.zeros
    wrong = {
        "blocks": ("resnet18", {"layer2.2.conv1.weight": zeros(128, 1, 1, 1)}, "2,3,2,2"),
        "stem": ("resnet18", {"conv1.weight": zeros(64, 3, 5, 5)}, "first convolution"),
        "channels": ("resnet18", {"layer2.0.conv1.weight": zeros(120, 1, 1, 1)}, "64, 120, 256, 512"),
        "wide_resnet50_2": ("resnet50", {"layer1.0.conv1.weight": zeros(128, 1, 1, 1)}, "128, 128, 256, 512"),
        "nothing known": ("resnet18", {"conv1.weight": None}, "no encoder of a known name"),
    }
    for title, (arch, change, words) in wrong.items():
        _, info = write(arch, 1, change=change)
        verdict.true(f"refused, {title}: {info.get('unknown')}", words in info.get("unknown", ""))
        try:
            binding.Model.load(path)
            verdict.true(f"{title} is not loaded", False)
        except binding.MocoError as error:
            verdict.quiet(f"{title}: {error}", words in str(error))


# ---- writing ----

def detectron2_names(state):
    """The published conversion, in its own words: a chain of replacements."""
    renamed = {}
    for name, tensor in state.items():
        if "layer" not in name:
            name = "stem." + name
        for t in (1, 2, 3, 4):
            name = name.replace(f"layer{t}", f"res{t + 1}")
        for t in (1, 2, 3):
            name = name.replace(f"bn{t}", f"conv{t}.norm")
        renamed[name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")] = tensor
    return renamed


def strictly(verdict, title, path, module, state):
    """The file's tensors into the module: same names, shapes and types; and the same numbers as `state`."""
    loaded, metadata = tensors.read(path)
    own = module.state_dict()
    same = all(torch.tensor(t).dtype == own[n].dtype and tuple(t.shape) == tuple(own[n].shape)
               for n, t in loaded.items() if n in own)
    try:
        module.load_state_dict({n: torch.tensor(t) for n, t in loaded.items()}, strict=True)
        problem = None
    except RuntimeError as error:
        problem = str(error)
    equal = all(np.array_equal(loaded[n], t) for n, t in state.items() if n in own)
    verdict.true(f"{title}: {len(loaded)} tensors load strictly{'' if problem is None else ': ' + problem}",
                 problem is None and same and equal and metadata["format"] == "pt")
    return module.eval()


def writing(verdict, folder):
    """A trainer's checkpoint to every layout, and back."""
    config = Config(arch="resnet50", stem="imagenet", head="mlp", image_size=65, batch_size=8, bn_groups=2,
                    width=0.25, queue_length=32, dimension=16)
    trainer, _ = scenario.start(config, folder, 0, 3)
    for step in range(2):
        trainer.push(*reference.random_views(config, 70 + step))
        trainer.step()
    source, out = folder.path("ours.safetensors"), folder.path("out.safetensors")
    trainer.save(source)
    state, _ = tensors.read(source)
    for which in ("q", "k"):
        mine = {n[len("encoder_q."):]: t for n, t in state.items() if n.startswith(f"encoder_{which}.")}
        encoder = reference.Encoder(config)
        reference.load_encoder(encoder, mine, "")
        picked = dict(encoder=int(which == "k"))
        backbone = {n: t for n, t in mine.items() if not n.startswith("fc.")}
        binding.convert(source, out, "torchvision", head=1, **picked)
        module = strictly(verdict, f"encoder_{which} to torchvision with its head", out, torch_files.plain(encoder), mine)
        images = reference.random_views(config, 5)[0]
        ours, theirs = wanted_rows(encoder, images, torch.float64), wanted_rows(module, images, torch.float64)
        verdict.close(f"encoder_{which}: PyTorch's own batch norms give", theirs["projection"], ours["projection"], 1e-6)
        for layout in ("torchvision", "timm"):
            binding.convert(source, out, layout, **picked)
            bare = torch_files.plain(encoder)
            bare.fc = torch.nn.Identity()
            strictly(verdict, f"encoder_{which} to {layout}", out, bare, backbone)
        binding.convert(source, out, "detectron2", **picked)
        loaded, metadata = tensors.read(out)
        wanted = detectron2_names(backbone)
        verdict.true(f"encoder_{which} to detectron2: {len(loaded)} tensors, {metadata['__author__']}",
                     set(loaded) == set(wanted) and all(np.array_equal(loaded[n], wanted[n]) for n in loaded)
                     and metadata["matching_heuristics"] == "True")
        for layout, head in (("detectron2", 1), ("torchvision", 1), ("encoder", 0)):  # and in again
            report = binding.convert(source, out, layout, head=head, **picked)
            verdict.quiet(f"report of {layout}: {report}", report["layout"] == "libmoco"
                          and report["model"]["arch"] == "resnet50" and report["taken"] == len(mine))
            small = binding.convert(out, folder.path("again.safetensors"), image_size=65)
            verdict.quiet(f"report of the way back from {layout}: {small}", small["model"]["size"] == 65)
            check_model(verdict, f"encoder_{which} to {layout} and back", folder.path("again.safetensors"), config, encoder)
    report = binding.convert(source, out, mean_r=0.5, mean_g=0.4, mean_b=0.3, std_r=0.2, std_g=0.21, std_b=0.22,
                             image_size=48, eval_resize=50, head=2)
    with binding.Model.load(out) as model:
        info = model.info()
    verdict.true(f"transform as told: {info['mean']}, {info['std']}, {info['eval_resize']}, {info['eval_crop']}",
                 np.allclose(info["mean"] + info["std"], [0.5, 0.4, 0.3, 0.2, 0.21, 0.22])
                 and (info["eval_resize"], info["eval_crop"], info["head"]) == (50, 48, "none")
                 and report["model"]["eval_resize"] == 50)
    trainer.close()


def every_architecture(verdict, folder):
    """From a fresh trainer out to torchvision's names and in again: the network is recognised."""
    source, out = folder.path("ours.safetensors"), folder.path("out.safetensors")
    for arch in ("resnet101", "resnet152"):
        with binding.Trainer("moco-v1", arch=arch, width=0.0625, image_size=16, batch_size=4, bn_groups=1,
                             queue_length=8, dimension=4) as trainer:
            trainer.save(source)
        binding.convert(source, out, "torchvision", head=1)
        with binding.Model.load(out) as model, binding.Model.load(source) as before:
            info, wanted = model.info(), before.info()
        verdict.true(f"{arch} out and in: {info['parameters']} parameters",
                     all(info[n] == wanted[n] for n in ("arch", "stem", "head", "parameters", "projection_dimension")))


# ---- training ----

SEED = 9
RUNS = {
    "v2, zip": (Config(arch="resnet18", stem="imagenet", head="mlp", image_size=32, queue_length=40, key_momentum=0.9),
                "zip", False, "moco-v2"),
    "v1, legacy, addresses": (Config(arch="resnet18", stem="imagenet", image_size=32, bn_running="first", key_momentum=0.9),
                              "legacy", True, "moco-v1"),
    "demonstration, zip": (Config(stem="cifar", image_size=16, membership="strided", key_momentum=0.9), "zip", False,
                           "moco-cifar"),
}


def reference_file(run, title, epoch, old):
    """The checkpoint that the published program would write of this run."""
    demo = "demonstration" in title
    entries = [torch_files.with_counters(e, 0 if demo else run.steps) for e in (run.query, run.key)]
    if demo:
        entries = [torch_files.demo_names(e) for e in entries]
    buffers = {n: run.optimizer.state[p]["momentum_buffer"] for n, p in run.query.named_parameters()}
    return {"epoch": epoch, "arch": run.config.arch,
            "state_dict": torch_files.moco_state(*entries, run.queue, run.pointer, "" if demo else "module."),
            "optimizer": torch_files.optimizer_state(run.query, run.key, buffers, old, run.config.lr,
                                                     weight_decay=5e-4)}


def resumed(config, state):
    """References that stand where the converted checkpoint does: both encoders, queue, momentum."""
    exact, own = scenario.references(config, state)
    for each in (exact, *own):
        for name, parameter in each.query.named_parameters():
            buffer = torch.tensor(state[f"optimizer.momentum_buffer.{name}"], dtype=each.dtype)
            each.optimizer.state[parameter]["momentum_buffer"] = buffer
    return exact, own


def training(verdict, folder):
    """A reference run of three steps in PyTorch, its checkpoint converted; both sides then make the fourth."""
    for title, (config, container, old, recipe) in RUNS.items():
        print(title)
        trainer, start = scenario.start(config, folder, 0, SEED)
        trainer.close()
        run = reference.Trainer(config, start, torch.float32)
        for step in range(3):
            run.step(*reference.random_views(config, 20 + step), binding.shuffle(SEED, step, config.batch_size))
        path, out = folder.path("reference.pth.tar"), folder.path("converted.safetensors")
        torch_files.save(path, reference_file(run, title, 2, old), container)
        values = scenario.options(config)
        for name in ("arch", "width", "stem", "head", "dimension", "queue_length"):
            del values[name]  # the file decides
        report = binding.convert(path, out, "training", binding.make_options("moco-v2", seed=SEED, **values))
        state, metadata = tensors.read(out)
        wanted = run.state()
        equal = [n for n in wanted if not np.array_equal(state[n].astype(np.float64).reshape(wanted[n].shape), wanted[n])]
        verdict.true(f"{len(wanted)} tensors are equal, key encoder one update further; others: {equal[:3]}", not equal)
        steps = 2 if "demonstration" in title else 3
        verdict.true(f"counters: epoch {metadata['epoch']}, step {metadata['step']}; {metadata['origin']}",
                     (metadata["epoch"], metadata["step"]) == ("2", str(steps)) and "update" in metadata["origin"])
        verdict.quiet(f"report {report}", report["ignored"] == {} and report["missing"] ==
                      ([] if steps == 3 else ["the number of steps: 2"]))
        guess = binding.convert(path, folder.path("guess.safetensors"), "training", key_update=0)
        kept, guessed = tensors.read(folder.path("guess.safetensors"))
        options = binding.json.loads(guessed["options"])
        verdict.true(f"without options: {options['recipe']}, {guess['notes'][0]}",
                     (options["recipe"], options["weight_decay"], options["sgd_momentum"], options["queue_length"]) ==
                     (recipe, 5e-4, 0.9, config.queue_length))
        pushed = folder.path("pushed.safetensors")
        binding.convert(path, pushed, "training", binding.make_options(recipe, steps_per_epoch=7, batch_size=8, bn_groups=2))
        step = tensors.read(pushed)[1]["step"]
        verdict.true(f"with steps_per_epoch 7 the step is {step}", step == str(14 if "demonstration" in title else 3))
        keys = {n: t.numpy() for n, t in run.key.state_dict().items()}
        verdict.true("without the update the key encoder is the file's",
                     all(np.array_equal(kept[f"encoder_k.{n}"], t) for n, t in keys.items()))
        exact, own = resumed(config, state)
        with binding.Trainer.load(out) as trainer:
            views = scenario.choose_views(exact, own[0], config, 30)
            permutation = binding.shuffle(SEED, steps, config.batch_size)
            trainer.push(*views)
            ours = trainer.step()
            theirs = [each.step(*views, permutation) for each in (exact, *own)]
            verdict.close("the next step's loss", ours.loss, theirs[0]["loss"], TOLERANCE)
            after = scenario.checkpoint(trainer, folder)
            states = [each.state() for each in (exact, *own)]
            verdict.tensors("state after the next step", after, states[0], states[1:], TOLERANCE)
            trainer.save(out)
            verdict.quiet("the origin stays known", "origin" in tensors.read(out)[1])


def training_from_less(verdict, folder):
    """Files without optimizer, queue or key encoder; and those that hold no training state of ours."""
    path, out = folder.path("less.pth.tar"), folder.path("less.safetensors")
    config = Config(arch="resnet18", stem="imagenet", image_size=32, dimension=16)
    q, k = torch_files.random_encoder(config, 1), torch_files.random_encoder(config, 2)
    states = [torch_files.with_counters(e, counters=False) for e in (q, k)]
    file = {"epoch": 200, "optimizer": None, "state_dict": torch_files.moco_state(states[0], None)}
    report = binding.convert(torch_files.save(path, file, "zip"), out, "training",
                             binding.make_options("moco-v1", queue_length=64, batch_size=8, bn_groups=2,
                                                  image_size=32))
    state, metadata = tensors.read(out)
    same = all(np.array_equal(state[f"encoder_{w}.{n}"], t.numpy()) for w in "qk" for n, t in states[0].items())
    verdict.true(f"query encoder alone: missing {report['missing']}", same and len(report["missing"]) == 5
                 and state["queue"].shape == (16, 64) and metadata["epoch"] == "200")
    binding.Trainer.load(out).close()
    optimizer = torch_files.optimizer_state(q, k, {})
    optimizer["param_groups"][0]["params"].pop()
    cases = {
        "one parameter too few": (dict(optimizer=optimizer, state_dict=torch_files.moco_state(*states)), None,
                                  "lists 123 parameters, the file has 124"),
        "a queue of another width": (dict(state_dict=torch_files.moco_state(*states, torch.zeros(15, 8))), "MOCO_ERR_SHAPE",
                                     "'queue' is not [16,K]"),
        "a pointer outside the queue": (dict(state_dict=torch_files.moco_state(*states, torch.zeros(16, 8), 8)),
                                        "MOCO_ERR_FORMAT", "'queue_ptr' is 8"),
        "v3 with v1's head": (dict(state_dict=torch_files.moco_state(*states, roles=("base_encoder", "momentum_encoder"))),
                              "MOCO_ERR_UNSUPPORTED", "MoCo v3's, its head is not"),
        "no head": (dict(state_dict=torch_files.moco_state({n: t for n, t in states[0].items() if "fc" not in n}, None)),
                    "MOCO_ERR_UNSUPPORTED", "no projection head"),
    }
    for title, (file, status, words) in cases.items():
        torch_files.save(path, file, "zip")
        try:
            found = str(binding.convert(path, out, "training"))
            verdict.true(f"{title}: {found[-160:]}", status is None and words in found)
        except binding.MocoError as error:
            verdict.true(f"{title}: {error}", error.name == status and words in str(error))
    try:
        binding.convert(out, folder.path("x"), "training")
        verdict.true("our own checkpoint is refused", False)
    except binding.MocoError as error:
        verdict.true(f"our own checkpoint: {error}", error.name == "MOCO_ERR_MISMATCH")


# ---- refusals ----

class Attack:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def refusals(verdict, folder):
    mark, path = folder.path("ran"), folder.path("attack.pth")
    encoder = torch_files.random_encoder(DEMO, 1)
    state = dict(torch_files.with_counters(encoder))
    pickle.loads(pickle.dumps(Attack(f"touch {mark}"), 2))
    verdict.true("the attack works on pickle itself", os.path.exists(mark))
    os.remove(mark)
    for container in CONTAINERS:
        for place in ("beside", "inside"):
            file = {"epoch": 1, "state_dict": state, "args": Attack(f"touch {mark}")}
            if place == "inside":
                file = {"state_dict": {**state, "conv1.weight": Attack(f"touch {mark}")}}
            torch_files.save(path, file, container)
            for use in (binding.Model.load, binding.file_info, binding.Trainer.load,
                        lambda p: binding.convert(p, folder.path("x"))):
                try:
                    use(path)
                    verdict.true("an attack is refused", False)
                except binding.MocoError as error:
                    verdict.quiet(f"attack: {error}", error.name == "MOCO_ERR_UNSUPPORTED" and "posix.system" in str(error))
            verdict.true(f"{container}, a command {place} the tensors: refused, nothing ran",
                         not os.path.exists(mark) and not os.path.exists(folder.path("x")))
    others = {}
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    others["TorchScript"] = (open(path, "rb").read(), "TorchScript")
    torch.save(torch_files.plain(encoder), path)
    others["a whole module"] = (open(path, "rb").read(), "reference.Encoder")
    torch.save(state, path)
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(folder.path("packed"), "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    others["a compressed archive"] = (open(folder.path("packed"), "rb").read(), "is compressed")
    others["a pickle of tensors' numbers"] = (pickle.dumps({"a": 1}, 2), "magic number")
    others["a sparse tensor"] = (None, "has no encoder of a known name")
    for title, (content, words) in others.items():
        if content is None:
            torch.save({"a": torch.eye(3).to_sparse()}, path)
        else:
            with open(path, "wb") as stream:
                stream.write(content)
        try:
            binding.Model.load(path)
            verdict.true(f"{title} is refused", False)
        except binding.MocoError as error:
            verdict.true(f"{title}: {error}", words in str(error))
    torch.save(state, path)
    with zipfile.ZipFile(path) as stored:  # the same again with the 64-bit fields everywhere
        members = [(name, stored.read(name)) for name in stored.namelist()]
    with open(path, "wb") as stream:
        stream.write(wide_archive(members))
    check_model(verdict, "an archive with 64-bit fields", path, DEMO, encoder)


def wide_archive(members):
    """A zip archive whose directory uses the fields for files beyond 4 GiB."""
    body, directory = b"", b""
    for name, data in members:
        at, name = len(body), name.encode()
        body += b"PK\3\4" + struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(name), 20) + name
        body += struct.pack("<HHQQ", 1, 16, len(data), len(data)) + data
        directory += b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 45, 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(name),
                                             28, 0, 0, 0, 0, 2**32 - 1) + name
        directory += struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
    end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(members), len(members), len(directory), len(body))
    end += b"PK\6\7" + struct.pack("<IQI", 0, len(body) + len(directory), 1)
    return body + directory + end + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)


PARTS = (reference_layouts, whole_batch_methods, other_layouts, shapes_alone, writing, every_architecture, training, training_from_less,
         refusals)


def main(names):
    """All parts, or those that are named."""
    torch.set_num_threads(1)
    verdict = Verdict("foreign")
    for part in (p for p in PARTS if not names or p.__name__ in names):
        print(part.__doc__.strip().splitlines()[0] if part.__doc__ else part.__name__.replace("_", " "))
        part(verdict, scenario.Folder())
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
