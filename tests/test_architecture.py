"""The shape of the house: imports one way, public JAX, no pickle, everything named."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import widelimit

SOURCE = Path(widelimit.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PARTS = sorted(
    path.stem if path.is_file() else path.name
    for path in SOURCE.iterdir()
    if path.suffix == ".py" or (path / "__init__.py").exists()
)

# What each part of the core may import from `widelimit`, itself apart.
BASE = {"_checks", "_cores", "_files", "description"}
CORE = {
    "_checks": set(),
    "_cores": set(),
    "_files": set(),
    "description": set(),
    "balls": BASE,
    "losses": BASE,
    "activations": BASE,
    "layers": BASE | {"activations"},
    "networks": BASE | {"activations", "layers"},
    "measures": BASE | {"activations", "layers", "losses", "balls"},
    "kernels": BASE | {"activations", "layers", "networks"},
    "prediction": BASE | {"activations", "layers", "networks", "kernels", "measures"},
    "attacks": BASE
    | {"activations", "balls", "layers", "losses", "measures", "kernels"},
    "training": BASE
    | {"activations", "layers", "losses", "kernels", "balls", "attacks"},
    "estimators": BASE | {"activations", "networks", "kernels", "prediction"},
}
# The shells, which nothing below imports.
SHELLS = {
    "studies": {"studies", "report", "cli"},
    "report": {"report", "studies", "cli"},
    "cli": {"cli", "__main__"},
}


def part_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@functools.cache
def imports(path):
    """Full names of all that a file imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def internal(path):
    names = [name.split(".") for name in imports(path)]
    return {n[1] for n in names if n[0] == "widelimit" and len(n) > 1} & set(PARTS)


@functools.cache
def attributes(path):
    """Dotted names that a file reads, such as `jax.experimental.enable_x64`."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}


def test_the_walk_sees_the_library():
    assert set(CORE) <= set(PARTS) and len(FILES) > 20
    assert internal(SOURCE / "measures" / "score.py") == {"losses"}


@pytest.mark.parametrize("part", CORE)
def test_the_core_imports_one_way(part):
    for path in FILES:
        if part_of(path) == part:
            allowed = CORE[part] | {part}
            extra = internal(path) - allowed
            assert not extra, f"{path.relative_to(SOURCE)} imports {sorted(extra)}"


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_below_imports_the_shells(shell):
    for path in FILES:
        if path != SOURCE / "__init__.py" and part_of(path) not in SHELLS[shell]:
            assert shell not in internal(path), path.relative_to(SOURCE)


def test_files_of_one_part_do_not_import_in_circles():
    edges = {
        path: {
            other
            for other in FILES
            if other != path and module_of(other) in imports(path)
        }
        for path in FILES
        if path.name != "__init__.py"
    }
    edges = {path: ends & set(edges) for path, ends in edges.items()}
    while edges:
        free = {path for path, ends in edges.items() if not ends}
        names = sorted(str(path.relative_to(SOURCE)) for path in edges)
        assert free, f"these import each other in circles: {names}"
        edges = {p: ends - free for p, ends in edges.items() if p not in free}


def module_of(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("widelimit", *parts)).removesuffix(".__init__")


@pytest.mark.parametrize(
    "module", ["jax._src", "jax.core", "jax.interpreters", "jax.experimental"]
)
def test_jax_is_used_by_its_public_names(module):
    for path in FILES:
        for name in imports(path) | attributes(path):
            assert not f"{name}.".startswith(f"{module}."), path.relative_to(SOURCE)


def test_no_pickle():
    banned = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for path in FILES:
        used = {name.split(".")[0] for name in imports(path)} & banned
        assert not used, f"{path.relative_to(SOURCE)} uses {used}"
        assert "allow_pickle=True" not in path.read_text(), path.relative_to(SOURCE)


@pytest.mark.parametrize("name", widelimit.__all__)
def test_public_names_are_documented(name):
    module = importlib.import_module(f"widelimit.{name}")
    assert module.__doc__, f"`{name}` has no docstring"
    public = getattr(module, "__all__", None)
    if public is None:  # a module rather than a package: what it defines itself
        public = [n for n in vars(module) if not n.startswith("_")]
        public = [
            n
            for n in public
            if getattr(vars(module)[n], "__module__", "") == module.__name__
        ]
    assert public
    for attribute in public:
        value = getattr(module, attribute)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue  # a constant or a type alias, which cannot hold a docstring
        text = inspect.getdoc(value) or ""
        own = not text.startswith(f"{value.__name__}(")  # a dataclass writes its own
        assert text and own, f"`{name}.{attribute}` has no docstring"


def test_public_names_are_sorted_and_reachable():
    assert sorted(widelimit.__all__) == widelimit.__all__
    assert set(widelimit.__all__) <= set(dir(widelimit))
    assert widelimit.networks.mlp(depth=1, width=2)
    with pytest.raises(AttributeError, match="module 'widelimit' has no attribute 'x'"):
        _ = widelimit.x


def run_python(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_the_library_loads_nothing_large():
    code = (
        "import sys, widelimit; dir(widelimit); "
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = ast.literal_eval(run_python(code))
    large = {"jax", "jaxlib", "numpy", "scipy", "sklearn", "optax", "equinox", "altair"}
    assert "widelimit" in loaded and not large & set(loaded)
