"""The import rule of ARCHITECTURE.md, enforced on every module of the four packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("converter", "signer", "p2p_seed", "registry_hook")

# What a module below the first name may import of the project, beside its own package.
ALLOWED = {
    "converter.oci": (),
    "converter": ("converter.oci",),
    "signer": ("converter.oci", "converter.chunk_manifest"),
    "p2p_seed": ("converter.oci",),
    "registry_hook": ("converter", "signer", "p2p_seed"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            yield node.module or ""


def violations(module: str, source: str) -> list[str]:
    home = next(package for package in ALLOWED if below(module, package))
    allowed = (home, *ALLOWED[home])
    return [
        name
        for name in imported(source)
        if name.split(".")[0] in PACKAGES and not any(below(name, package) for package in allowed)
    ]


MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    assert violations(module_name(path), path.read_text()) == []


def test_only_settings_reads_the_environment() -> None:
    readers = [
        module_name(path)
        for path in MODULES
        if any(word in path.read_text() for word in ("os.environ", "os.getenv", "from os import environ"))
    ]
    assert [name for name in readers if name != "registry_hook.settings"] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("converter.layer", "import registry_hook.settings"),
        ("converter.oci.digest", "from converter.layer import x"),
        ("signer.verify", "from converter.layer import x"),
        ("p2p_seed.seed", "from converter.chunk_manifest import x"),
    ],
)
def test_the_rule_can_fail(module: str, source: str) -> None:
    assert violations(module, source) != []
