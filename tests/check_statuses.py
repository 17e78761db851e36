#!/usr/bin/env python3
"""The statuses that the public headers promise are those that the code can return.

For each public function that returns a status the script follows the calls of lib/ as far as they
can be read from the source, collects the statuses that are returned on the way, and compares them
with the names in the function's description. A description may refer to another one ("as
moco_model_load", "text rule as in moco_build_info"), and "what work on a device returns" stands for
the list in the description of moco_device_t. What the source seems to allow and no call can return
stands in EXCEPT, with the reason.

usage: check_statuses.py [SOURCE_DIR] [--why FUNCTION]
"""
import collections
import glob
import os
import re
import sys

ON_DEVICE = {"ENGINE", "FORKED", "STATE", "THREAD", "UNSUPPORTED"}

# Calls that are not followed.
CUT = {
    ("mo_method_of", "mo_loss_of"): "a check of options reads the method's row and runs none of its functions",
    ("batchnorm", "mo_kind_batchnorm"): "a network that is listed runs none of its operations",
    ("mo_image_endings", "formats"): "a listing reads the names of the formats alone",
    ("mo_image_has_ending", "formats"): "the same",
    ("mo_embedding_forget", "mo_embedding_record_read"): "a record that cannot be read is not that of these rows",
    ("mo_output_check", "mo_source_read"): "the file that is there is only looked at",
    ("check_file", "steps_in"): "what cannot be read there counts as another run's",
    ("mo_overlap_warn", "look_for"): "an image that cannot be read is not compared",
    ("is_readable", "mo_encoder_build"): "the reason becomes a text",
    ("mo_file_describe", "describe_foreign"): "the reason becomes a text",
    ("mo_file_describe", "mo_import_describe"): "the reason becomes a text",
}
# Statuses of an inner function that would be a mistake of the library itself.
NEVER = {
    "mo_atomic_commit_all": ("STATE", "the file has been opened before"),
    "mo_npy_finish": ("STATE", "the file has been opened before"),
    "mo_loader_next": ("STATE", "the loader has been placed, and its batch given back"),
}
# Of one public function.
EXCEPT = {
    "moco_model_embed_tensor": {"IMAGE": "nothing is decoded", "UNSUPPORTED": "floats have one form",
                                "BROKEN_DATA": "no limit"},
    "moco_model_embed_encoded": {"UNSUPPORTED": "files, no pixels of the host"},
    "moco_model_embed_dataset": {"UNSUPPORTED": "files, no pixels of the host", "BROKEN_DATA": "no limit is given",
                                 "IMAGE": "is told and left out"},
    "moco_model_embed_to_npy": {"UNSUPPORTED": "files, no pixels of the host", "BROKEN_DATA": "no limit is given",
                                "IMAGE": "is told and left out", "FORMAT": "a damaged journal is begun anew"},
    "moco_knn_measure": {"UNSUPPORTED": "files, no pixels of the host", "BROKEN_DATA": "no limit is given",
                         "IMAGE": "is told and left out"},
    "moco_probe_train": {"UNSUPPORTED": "files, no pixels of the host", "BROKEN_DATA": "no limit is given",
                         "IMAGE": "is told and left out"},
    "moco_finetune_train": {"UNSUPPORTED": "files, no pixels of the host", "BROKEN_DATA": "no limit is given",
                            "IMAGE": "is told and left out"},
    "moco_trainer_run": {"UNSUPPORTED": "files, no pixels of the host", "IMAGE": "is told and left out"},
    "moco_trainer_steps": {"IMAGE": "is told and left out"},
    "moco_index_save_npy": {"FORMAT": "what is no record is a file of the host's"},
    "moco_convert": {"STATE": "it has no device"},
    "moco_queue_contrast": {"CANCELLED": "it cannot be cancelled"},
    "moco_file_info": {"MISMATCH": "the reason becomes a text", "NONFINITE": "the reason becomes a text",
                       "SHAPE": "the reason becomes a text"},
    "moco_model_save_memory": {"IO": "memory is no file"},
}


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


class Code:
    """Bodies of functions, macros and tables by (file, name), and who mentions whom."""

    def __init__(self, root):
        self.bodies = {}
        self.by_name = collections.defaultdict(list)  # name -> [(key, seen from everywhere)]
        for path in sorted(glob.glob(os.path.join(root, "lib/**/*.[ch]"), recursive=True)):
            self.read(path, without_comments(open(path, encoding="utf-8").read()))

    def add(self, path, name, body, everywhere):
        self.bodies[path, name] = body
        self.by_name[name].append(((path, name), everywhere))

    def read(self, path, text):
        for m in re.finditer(r"^([A-Za-z_][^;{}#=\n]*?\b(\w+)\([^;{}]*?\))\n\{\n(.*?)^\}", text, flags=re.S | re.M):
            self.add(path, m[2], m[3], path.endswith(".h") or "static" not in m[1])
        outside = re.sub(r"^\{\n.*?^\}", "", text, flags=re.S | re.M)
        for m in re.finditer(r"\b(\w+)(?:\[[^\]]*\])*\s*=\s*\{(.*?)\};", outside, flags=re.S):
            self.add(path, m[1], m[2], True)
        for m in re.finditer(r"^#define (\w+)\([^)]*\)((?:.*\\\n)*.*)$", text, flags=re.M):
            self.add(path, m[1], m[2], True)

    def mentioned(self, key):
        for name in set(re.findall(r"(?<![.>\w])([A-Za-z_]\w*)\b", self.bodies[key])):
            if (key[1], name) in CUT:
                continue
            if (key[0], name) in self.bodies:
                yield key[0], name
            else:
                yield from (other for other, everywhere in self.by_name[name] if everywhere)

    def own(self, key):
        """Statuses that are returned here, not those that are compared with."""
        found = re.finditer(r"(==|!=|case)?\s*\(?\s*\bMOCO_ERR_(\w+)", self.bodies[key])
        return {m[2] for m in found if m[1] is None} - {NEVER.get(key[1], ("",))[0]}

    def statuses(self, name):
        """{status: path of calls} of a public function."""
        start = next(key for key, _ in self.by_name[name] if key[0].endswith(".c"))
        came_from, queue, found = {start: None}, collections.deque([start]), {}
        while queue:
            key = queue.popleft()
            for status in self.own(key):
                path, at = [], key
                while at is not None:
                    path.append(at[1])
                    at = came_from[at]
                found.setdefault(status, " < ".join(path))
            for other in self.mentioned(key):
                if other not in came_from:
                    came_from[other] = key
                    queue.append(other)
        return found


def descriptions(root):
    """{function: (type it returns, description, header)}"""
    found = {}
    for path in sorted(glob.glob(os.path.join(root, "include/moco/*.h"))):
        text = open(path, encoding="utf-8").read()
        for m in re.finditer(r"/\*\*((?:(?!\*/).)*)\*/\s*MOCO_API ([^;(]*?)\b(moco_\w+)\(", text, flags=re.S):
            found[m[3]] = (m[2].strip(), re.sub(r"\s*\n\s*\*\s*", " ", m[1]), os.path.basename(path))
    return found


def promised(found, name, seen=()):
    text = found[name][1]
    statuses = set(re.findall(r"MOCO_ERR_(\w+)", text))
    groups = set(ON_DEVICE) if "work on a device returns" in text else set()
    for other in re.findall(r"(?:as of|as in|as) (moco_\w+)", text):
        if other in found and other not in seen:
            more, of_groups = promised(found, other, (*seen, name))
            statuses |= more
            groups |= of_groups
    return statuses, groups


def main():
    arguments = sys.argv[1:]
    why = arguments.pop(arguments.index("--why") + 1) if "--why" in arguments else None
    arguments = [a for a in arguments if a != "--why"]
    root = arguments[0] if arguments else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    code, found, failed, count = Code(root), descriptions(root), 0, 0
    for name, (returns, text, header) in sorted(found.items()):
        if returns != "moco_status_t" or re.search(r"_options_(init|set|json)$", name):
            continue  # made by macros from one function each
        count += 1
        possible = code.statuses(name)
        if name == why:
            print("\n".join(f"{s}: {path}" for s, path in sorted(possible.items())))
        can = set(possible) - set(EXCEPT.get(name, {}))
        names, groups = promised(found, name)
        own = set(re.findall(r"MOCO_ERR_(\w+)", text))
        missing, never = can - names - groups, own - can
        if "work on a device returns" in text and not ON_DEVICE & can:
            never |= ON_DEVICE
        if missing or never:
            failed += 1
            print(f"{header}: {name}: "
                  + "; ".join(f"{what} {' '.join(sorted(s))}"
                              for what, s in (("does not say", missing), ("says, but cannot return", never)) if s))
    print(f"{count} functions, {failed} descriptions are not as the code")
    return failed != 0 or count == 0


if __name__ == "__main__":
    sys.exit(main())
