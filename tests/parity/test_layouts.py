"""Files of many programs: encoders under any prefix, pairs of an encoder and its average, layers that no network of the
library has, objects beside the tensors, plain pickles of NumPy arrays. What is read gives the embeddings that PyTorch
computes; what is not read is refused by its name.
"""
import collections
import pickle
import sys

import numpy as np
import torch

import binding
import family
import reference
import scenario
import torch_files
import vit_reference
from compare import Verdict
from reference import Config
from test_foreign import CONTAINERS, detectron2_names

TOLERANCE = 1e-5
SMALL = Config(arch="resnet18", stem="cifar", image_size=32, width=0.25, batch_size=3, bn_groups=1, dimension=16)
DEEP = Config(arch="resnet50", stem="imagenet", image_size=64, width=0.125, batch_size=3, bn_groups=1, dimension=16)
VIT = family.Config(arch="vit_small", image_size=32, batch_size=3, head_width=80, dimension=20, channels=128, heads=2)
V3 = family.Config(arch="vit_small", image_size=32, batch_size=3, head_width=80, dimension=20, channels=384, heads=12,
                   depth=2)


class Net:
    """A network with numbers of ordinary sizes, the state dictionary of its backbone, and the rows that it gives."""

    def __init__(self, config, seed):
        self.is_vit = isinstance(config, family.Config)
        self.encoder = torch_files.random_family(config, seed) if self.is_vit else torch_files.random_encoder(config, seed)
        state = torch_files.family_state(self.encoder) if self.is_vit else torch_files.with_counters(self.encoder, 7)
        self.state = collections.OrderedDict((n, t) for n, t in state.items() if not n.startswith(("fc.", "head.")))
        self.images = reference.random_views(config, 3)[0]

    @torch.no_grad()
    def rows(self):
        exact = torch_files.copy.deepcopy(self.encoder).double().eval()
        return exact.backbone(torch.tensor(self.images).double()).numpy()

    def under(self, prefix):
        return collections.OrderedDict((prefix + n, t) for n, t in self.state.items())


def gives(verdict, title, path, net, **options):
    """The file's embeddings are the network's. Returns the model's info."""
    try:
        with binding.Model.load(path, **options) as model:
            rows, info = model.embed("backbone", net.images), model.info()
    except binding.MocoError as error:
        verdict.true(f"{title}: {error}", False)
        return {}
    worst = max(np.linalg.norm(r - e) / np.linalg.norm(e) for r, e in zip(rows, net.rows()))
    verdict.true(f"{title}: {worst:.1e} (at most {TOLERANCE:.0e})", worst <= TOLERANCE)
    return info


def refused(verdict, title, path, name, *words, **options):
    """Every reader refuses the file, with these words."""
    def convert(path):
        return binding.convert(path, path + ".out", prefix=options.get("prefix"))
    for use in (lambda p: binding.Model.load(p, **options), convert):
        try:
            use(path)
            verdict.true(f"{title} is refused", False)
        except binding.MocoError as error:
            verdict.true(f"{title}: {error}", error.name == name and all(w in str(error) for w in words))


def save(path, value):
    torch.save(value, path)
    return path


# ---- where ----

PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_orig_mod.backbone.", "encoder.",
            "module.encoder.", "backbone.", "model.backbone.", "net.", "student.module.backbone.", "teacher.",
            "model.model.features.", "a.b.c.d.e.f.", "encoder_q.module.", "base_encoder.", "momentum_encoder.",
            "online_network.encoder.", "backbone.bottom_up.", "student_backbone.", "_fsdp_wrapped_module.net.")
NESTS = (None, "state_dict", "model", "model_state_dict", "net", "teacher", "ema_state", "classy_state_dict")


def prefixes(verdict, folder):
    """One encoder, anywhere."""
    path, net, vit = folder.path("x.pth"), Net(SMALL, 1), Net(VIT, 2)
    for prefix in PREFIXES:
        gives(verdict, f"ResNet under '{prefix}'", save(path, {"state_dict": net.under(prefix), "epoch": 3}), net)
        gives(verdict, f"ViT under '{prefix}'", save(path, vit.under(prefix)), vit, vit_heads=2)
    for nest in NESTS:
        gives(verdict, f"under '{nest}'", save(path, {nest: net.state, "other": {"conv1.weight": torch.zeros(2)}}
                                               if nest else net.state), net)
    inner = {n.replace("layer1.0.", "layer1._orig_mod.0._checkpoint_wrapped_module."): t for n, t in net.state.items()}
    gives(verdict, "wrappers between the parts", save(path, inner), net)
    both = {**net.under("net."), **net.under("net._orig_mod.")}
    gives(verdict, "the same module saved twice", save(path, both), net)
    moco = {**net.under("module.encoder_q._orig_mod."), **Net(SMALL, 3).under("module.encoder_k._orig_mod.")}
    info = gives(verdict, "MoCo, compiled", save(path, {"state_dict": moco}), net)
    verdict.true("MoCo's layout", info["source"]["layout"] == "moco")
    short = {n.replace("downsample.", "shortcut."): t for n, t in net.state.items()}
    gives(verdict, "ResNets of CIFAR programs", save(path, {"net": {f"module.{n}": t for n, t in short.items()}}), net)
    refused(verdict, "one of them with a layer more", save(path, {**short, "layer1.1.shortcut.0.weight": torch.zeros(2)}),
            "MOCO_ERR_UNSUPPORTED", "shortcut.0.weight")
    d2 = Net(DEEP, 4)
    names = {"backbone.bottom_up." + n: t for n, t in detectron2_names(d2.state).items() if "tracked" not in n}
    gives(verdict, "detectron2's names in a detector", save(path, {"model": names}), d2, image_size=64)


PAIRS = {  # names of the encoder that is taken, of the other, and whether the key encoder is the other
    "MoCo": ("module.encoder_q.", "module.encoder_k.", True),
    "MoCo v3": ("module.base_encoder.", "module.momentum_encoder.", True),
    "DINO": ("teacher.backbone.", "student.module.backbone.", False),
    "names in one part": ("teacher_backbone.", "student_backbone.", False),
    "BYOL": ("online_net.0.", "target_net.0.", True),
    "solo-learn": ("backbone.", "momentum_backbone.", True),
    "lightly": ("backbone.", "backbone_momentum.", True),
    "averaged weights": ("state_dict.", "state_dict_ema.", True),
    "averaged model": ("model.", "model_ema.module.", True),
}


def pairs(verdict, folder):
    """An encoder and its average: their words decide, or the prefix."""
    path, one, two = folder.path("x.pth"), Net(SMALL, 1), Net(SMALL, 2)
    for title, (first, second, has_key) in PAIRS.items():
        save(path, {**one.under(first), **two.under(second)})
        gives(verdict, title, path, one)
        gives(verdict, f"{title}, the key encoder", path, two if has_key else one, encoder=1)
        gives(verdict, f"{title}, '{second}'", path, two, prefix=second.encode())
        gives(verdict, f"{title}, '{first[:-1]}'", path, one, prefix=first[:-1].encode())
    save(path, {**one.under("left.backbone."), **two.under("right.backbone."), "right.queue": torch.zeros(2)})
    refused(verdict, "two encoders", path, "MOCO_ERR_MISMATCH", "'left.backbone.'", "'right.backbone.'", "prefix")
    gives(verdict, "a part of the prefix", path, two, prefix=b"right")
    refused(verdict, "a part of both prefixes", path, "MOCO_ERR_MISMATCH", "'backbone'", "'left.backbone.'",
            prefix=b"backbone")
    refused(verdict, "another prefix", path, "MOCO_ERR_MISMATCH", "'righ'", "'right.backbone.'", prefix=b"righ")
    verdict.true(f"info: {binding.file_info(path)['unknown']}", "several encoders" in binding.file_info(path)["unknown"])
    refused(verdict, "a prefix in a file without encoder", save(path, {"x": torch.zeros(2)}), "MOCO_ERR_MISMATCH", "'a'",
            prefix=b"a")
    many = {}
    for k in range(40):
        many.update((f"n{k}.{n}", t) for n, t in list(one.state.items())[:12])
    refused(verdict, "forty encoders", save(path, many), "MOCO_ERR_MISMATCH", "'n0.'", "and more")


# ---- what ----

def strange_layers(verdict, folder):
    """Tensors inside an encoder that its network does not have."""
    path, net, vit = folder.path("x.pth"), Net(SMALL, 1), Net(VIT, 2)
    gamma, row = torch.full((128,), 0.01), torch.ones(128)
    vit_extras = ("blocks.0.ls1.gamma", "blocks.1.ls2.gamma", "blocks.0.gamma_1", "blocks.0.attn.q_norm.weight",
                  "blocks.0.attn.relative_position_bias_table", "blocks.0.mlp.norm.weight", "blocks.0.adapter.down.weight",
                  "norm_pre.weight", "fc_norm.weight", "patch_embed.norm.weight", "pos_embed_spatial", "dist_token",
                  "register_tokens", "reg_token", "storage_tokens", "attn_pool.q.weight", "rel_pos_bias.table", "rope.freqs",
                  "prompt_embeddings", "ln_pre.weight")
    for name in vit_extras:
        refused(verdict, name, save(path, {"model": {**vit.state, name: gamma}}), "MOCO_ERR_UNSUPPORTED",
                f"'model.{name}'")
        unknown = binding.file_info(path).get("unknown", "")
        verdict.quiet(f"info of {name}: {unknown}", name in unknown)
    resnet_extras = ("layer1.0.se.fc1.weight", "layer2.1.conv1.bias", "conv1.bias", "layer1.0.conv3.bias", "layer3.0.aa.filt",
                     "layer4.1.attn.weight", "layer5.0.conv1.weight", "conv2.weight", "bn3.weight", "maxpool.1.filt",
                     "attnpool.q_proj.weight", "layer1.0.bn1.gain", "norm.weight")
    for name in resnet_extras:
        for prefix in ("", "module.encoder_q."):
            refused(verdict, f"{prefix}{name}", save(path, {**net.under(prefix), prefix + name: row}),
                    "MOCO_ERR_UNSUPPORTED", f"'{prefix}{name}'")
    harmless = {"mask_token": row, "decoder_blocks.0.ls1.gamma": row, "decoder_pos_embed": row, "head_dist.weight": row,
                "blocks.0.attn.total_ops": row, "total_params": row, "projector.0.weight": row, "optimizer.x": row,
                "masked_embed": row, "head.0.weight": torch.zeros(3, 128), "prototypes.weight": row}
    gives(verdict, "what is no part of the encoder", save(path, {**vit.state, **harmless}), vit, vit_heads=2)
    heads = {"fc.weight": torch.zeros(16, 128), "fc.bias": row[:16], "predictor.0.weight": row, "layers.weight": row}
    gives(verdict, "heads beside a ResNet", save(path, {**net.state, **heads}), net)
    three = {f"fc.{i}.{n}": torch.ones(128, 128) if n == "weight" else row for i in (0, 2, 4) for n in ("weight", "bias")}
    info = gives(verdict, "a head of three layers is none of the known", save(path, {**net.state, **three}), net)
    verdict.true(f"its notes: {info['source']['notes']}", info["projection_dimension"] == 0)


def heads(verdict, folder):
    """Attention heads: of MoCo v3 by its fixed positions, as told, or guessed with a warning."""
    path, vit, v3 = folder.path("x.pth"), Net(VIT, 2), Net(V3, 3)
    positions = vit_reference.positions(V3, torch.float32)
    body = dict(v3.encoder.body.named_parameters()) | dict(v3.encoder.body.named_buffers())
    for dtype in (torch.float32, torch.float16):
        with torch.no_grad():
            body["pos_embed"].copy_(positions.to(dtype).float())
        v3.state["pos_embed"] = positions.to(dtype)
        with binding.Warnings() as lines:
            info = gives(verdict, f"linear evaluation of MoCo v3, positions {dtype}",
                         save(path, {"arch": "vit_small", "state_dict": v3.under("module.")}), v3)
        verdict.true(f"{info['vit_heads']} heads, {info['source']['notes']}, warnings {lines}",
                     info["vit_heads"] == 12 and not lines)
    save(path, {"model": vit.state})
    with binding.Warnings() as lines:
        info = gives(verdict, "a plain ViT", path, vit)
    verdict.true(f"guessed: {lines}", info["vit_heads"] == 2 and len(lines) == 1 and "vit-heads" in lines[0])
    with binding.Warnings() as lines:
        gives(verdict, "a plain ViT, told", path, vit, vit_heads=2)
    verdict.true("no warning where the heads are told", not lines)


# ---- pickles ----

class Settings(dict):
    """A class of the program's own, as configurations are."""


class Thing:
    def __init__(self):
        self.value = 3


def beside(verdict, folder):
    """Objects beside the tensors, whatever they are."""
    path, net = folder.path("x.pth"), Net(SMALL, 1)
    linear = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(linear.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20])
    others = {
        "a counter": collections.Counter("abca"), "a scheduler's state": scheduler.state_dict(),
        "an optimizer": torch.optim.SGD(linear.parameters(), 0.1), "a module": linear, "an object": Thing(), "a class": Thing,
        "a function of a library": torch.nn.functional.relu, "a set": {1, 2}, "a frozen set": frozenset((1,)),
        "a complex number": 1 + 2j, "a range": range(3), "an exception": ValueError("x"), "a queue": collections.deque([1]),
        "a sparse tensor": torch.eye(3).to_sparse(), "complex numbers": torch.zeros(3, dtype=torch.complex64),
        "a quantised tensor": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.quint8),
        "nine dimensions": torch.zeros(1, 1, 1, 1, 1, 1, 1, 1, 2), "an expanded tensor": torch.zeros(1).expand(10 ** 15),
        "an array": np.arange(6.0).reshape(2, 3), "an array of texts": np.array(["a", "b"]),
        "an array of objects": np.array([{}, 1], dtype=object), "big-endian numbers": np.arange(3, dtype=">f4"),
        "a record": np.zeros(2, dtype=[("a", "f4")]), "a NumPy number": np.int64(3), "half a number": np.float16(0.5),
        "a random state": np.random.RandomState(1).get_state(), "a path": __import__("pathlib").PurePosixPath("/a"),
        "a generator's state": torch.get_rng_state(), "a type": torch.float64,
    }
    for title, value in others.items():
        for container in CONTAINERS:
            torch_files.save(path, {"state_dict": net.state, "beside": value}, container)
            gives(verdict, f"{container}, {title}", path, net)
    gives(verdict, "a dictionary of the program's own class", save(path, Settings(state_dict=Settings(net.state))), net)
    torch.save({"state_dict": net.state, "best_acc1": np.float64(67.5)}, path)
    verdict.true("a NumPy number is a number", binding.Model.load(path).info()["source"]["layout"] == "plain")
    odd = {**net.state, "bn1.bias": torch.zeros(1).expand(16), "layer1.0.bn1.weight": torch.ones(1).expand(16),
           "conv1.weight": torch.nn.Parameter(net.state["conv1.weight"])}
    changed = Net(SMALL, 1)
    with torch.no_grad():
        changed.encoder.state_dict()["bn1.bias"].zero_()
        changed.encoder.state_dict()["layer1.0.bn1.weight"].fill_(1)
    gives(verdict, "expanded weights", save(path, odd), changed)
    quantized = torch.quantize_per_tensor(net.state["bn1.bias"], 0.1, 0, torch.qint8)
    for title, value, words in (("a sparse weight", net.state["bn1.bias"].to_sparse(), "'bn1.bias' is sparse"),
                                ("a quantized weight", quantized, "'bn1.bias' is quantized"),
                                ("a weight without numbers", torch.empty(16, device="meta"), "is without numbers"),
                                ("a complex weight", net.state["bn1.bias"].to(torch.complex64), "is complex64"),
                                ("big-endian weights", net.state["bn1.bias"].numpy().astype(">f4"), "'bn1.bias'")):
        try:
            binding.Model.load(save(path, {**net.state, "bn1.bias": value}))
            verdict.true(f"{title} is refused", False)
        except binding.MocoError as error:
            verdict.true(f"{title}: {error}", words in str(error))
    gamma = {**net.state, "layer1.0.gamma": torch.ones(16).to_sparse()}
    refused(verdict, "a sparse tensor that no layer takes", save(path, gamma), "MOCO_ERR_FORMAT",
            "'layer1.0.gamma' is sparse")
    gray = {**net.state, "conv1.weight": net.state["conv1.weight"][:, :1]}
    refused(verdict, "a stem for gray images", save(path, gray), "MOCO_ERR_UNSUPPORTED", "'conv1.weight', is [16,1,")
    repeated = {n: (torch.zeros(()).expand([s * 16 if k < (2 if n != "conv1.weight" and len(t.shape) == 4 else 1) else s
                                            for k, s in enumerate(t.shape)]) if t.dim() > 0 else t)
                for n, t in net.state.items()}
    refused(verdict, "a small file that repeats a number", save(path, repeated), "MOCO_ERR_UNSUPPORTED", "repeats")


def arrays(verdict, folder):
    """Plain pickles of NumPy arrays, as detectron2's converters write them."""
    path, net = folder.path("x.pkl"), Net(DEEP, 4)
    state = {n: t.numpy() for n, t in detectron2_names(net.state).items() if "tracked" not in n}
    state.update({"stem.fc.weight": np.zeros((16, 256), np.float32), "stem.fc.bias": np.zeros(16, np.float32)})
    for protocol in range(2, 6):
        with open(path, "wb") as stream:
            pickle.dump({"model": state, "__author__": "MOCO", "matching_heuristics": True}, stream, protocol)
        info = gives(verdict, f"protocol {protocol}", path, net, image_size=64)
        verdict.quiet(f"container {info['source']['container']}", (info["source"]["container"], info["source"]["names"]) ==
                      ("pickle", "detectron2"))
    for title, change in (("Fortran's order", np.asfortranarray), ("double", lambda a: a.astype(np.float64)),
                          ("a transposed view", lambda a: np.ascontiguousarray(a.T).T)):
        with open(path, "wb") as stream:
            pickle.dump({"model": {n: change(a) for n, a in state.items()}}, stream, 4)
        gives(verdict, title, path, net, image_size=64)
    torch.save({"model": state}, path)
    gives(verdict, "arrays in a file of torch.save", path, net, image_size=64)
    torch.save({"model": state}, path, pickle_protocol=4, _use_new_zipfile_serialization=False)
    gives(verdict, "arrays in a file of the older container", path, net, image_size=64)
    with open(path, "wb") as stream:
        pickle.dump({"model": net.state}, stream, 4)
    refused(verdict, "pickle.dump of tensors", path, "MOCO_ERR_FORMAT", "is nested")
    with open(path, "wb") as stream:
        pickle.dump({"model": state}, stream, 4)
    whole = open(path, "rb").read()
    for size in (1, 10, 100, 1000, len(whole) // 2, len(whole) - 1):
        with open(path, "wb") as stream:
            stream.write(whole[:size])
        refused(verdict, f"the first {size} bytes", path, "MOCO_ERR_FORMAT")


def other_files(verdict, folder):
    """Files that are no checkpoints are called what they are."""
    path = folder.path("x.pth")
    for content, words in ((b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
                           (b"<!DOCTYPE html><html></html>", "a web page"), (b"\x1f\x8b\x08" + bytes(60), "a gzip file"),
                           (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"), (b"", "it is empty"),
                           (b"\x08\x07\x12\x07pytorch\x1a\x031.9" + bytes(60), "of ONNX"),
                           (bytes(4) + b"TFL3" + bytes(60), "a TensorFlow Lite file"), (bytes(100), "zero bytes")):
        with open(path, "wb") as stream:
            stream.write(content)
        refused(verdict, words, path, "MOCO_ERR_FORMAT", words)


PARTS = (prefixes, pairs, strange_layers, heads, beside, arrays, other_files)


def main(names):
    """All parts, or those that are named."""
    torch.set_num_threads(1)
    verdict = Verdict("layouts")
    for part in (p for p in PARTS if not names or p.__name__ in names):
        print(part.__doc__.strip())
        part(verdict, scenario.Folder())
    return verdict.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
