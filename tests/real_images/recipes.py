"""The images: what each is made of, and the program that has to run from its lazy mount.

All are what people run: a Debian root file system, packages on top of it as its package manager leaves
them, and on top of those what the language's own registry has. Debian's packages move with its security
fixes; everything else is pinned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.demo.image import PROGRAM as PYTHON_PROGRAM
from tests.demo.image import PROGRAM_OUTPUT_ENDS as PYTHON_SAYS
from tests.demo.image import PYPI_PACKAGES

Registry = Literal["PyPI", "npm", "Maven", "Go"]


@dataclass(frozen=True)
class Tree:
    """Files from a language's registry, as a layer of their own.

    Args:
        registry: which.
        packages: with exact versions, spelled as that registry spells them.
        directory: where in the image they lie.
    """

    registry: Registry
    packages: tuple[str, ...]
    directory: str

    def __str__(self) -> str:
        return ", ".join(self.packages)


@dataclass(frozen=True)
class Recipe:
    """One image.

    Args:
        name: repository of the image.
        program: what is run in it, by a shell where there is one.
        says: regular expression of the whole output.
        debian: packages on top of the minimal system; None for no Debian below at all.
        tree: the layer on top.
        before: names an earlier release of the image: with other packages in `tree`, or without Debian's
            security fixes in the second layer.
    """

    name: str
    program: tuple[str, ...]
    says: str
    debian: tuple[str, ...] | None = ()
    tree: Tree | None = None
    before: Tree | Literal["without security fixes"] | None = None

    def check(self, output: str) -> None:
        """Raises ValueError if the program did not say what it should."""
        if re.fullmatch(self.says, output) is None:
            raise ValueError(f"{self.name}: the program said {output!r}, not {self.says!r}")


@dataclass(frozen=True)
class Layers:
    """What a release of an image is built of, lowest layer first.

    Args:
        debian: as in `Recipe`.
        security: whether the Debian packages have the security fixes.
        tree: as in `Recipe`.
    """

    debian: tuple[str, ...] | None
    tree: Tree | None
    security: bool = field(default=True)


def layers(recipe: Recipe) -> Layers:
    """The layers of an image."""
    return Layers(recipe.debian, recipe.tree)


def layers_before(recipe: Recipe) -> Layers | None:
    """The layers of its earlier release, if it has one."""
    if recipe.before is None:
        return None
    if isinstance(recipe.before, Tree):
        return Layers(recipe.debian, recipe.before)
    return Layers(recipe.debian, recipe.tree, security=False)


def _shell(*lines: str) -> tuple[str, ...]:
    return ("/bin/sh", "-ec", "\n".join(lines))


_SITE: Final = "usr/local/lib/python3.11/dist-packages"
_PYPI_BEFORE: Final = tuple(
    {"numpy": "numpy==2.4.5", "pandas": "pandas==2.3.2"}.get(package.split("==")[0], package)
    for package in PYPI_PACKAGES
)
_POSTGRES: Final = "/usr/lib/postgresql/15/bin"

RECIPES: Final[Sequence[Recipe]] = (
    Recipe("debian", _shell(". /etc/os-release", 'bash -c "echo $ID $((6 * 7))"'), "debian 42"),
    Recipe(
        "python",
        ("/usr/bin/python3", "-c", PYTHON_PROGRAM),
        rf".* {PYTHON_SAYS}",
        ("python3",),
        Tree("PyPI", PYPI_PACKAGES, _SITE),
        Tree("PyPI", _PYPI_BEFORE, _SITE),
    ),
    Recipe(
        "node",
        _shell(
            "cd /tmp",
            "echo 'const answer: number = 6 * 7; console.log(answer)' > a.ts",
            "node /opt/app/node_modules/typescript/bin/tsc a.ts",
            "exec node a.js",
        ),
        "42",
        ("nodejs",),
        Tree("npm", ("typescript@5.9.3",), "opt/app"),
        Tree("npm", ("typescript@5.9.2",), "opt/app"),
    ),
    Recipe(
        "java",
        (
            "/usr/bin/java", "-cp", "/opt/app/h2-2.3.232.jar", "org.h2.tools.Shell", "-url", "jdbc:h2:mem:t",
            "-sql", "select 6 * 7 as answer",
        ),
        r"(?s)ANSWER\n42\n.*",
        ("default-jre-headless",),
        Tree("Maven", ("com.h2database:h2:2.3.232",), "opt/app"),
        Tree("Maven", ("com.h2database:h2:2.3.230",), "opt/app"),
    ),
    Recipe(
        "go",
        ("/cosign", "version"),
        r"(?s).*GitVersion: *v3\.1\.3.*",
        None,
        Tree("Go", ("github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3",), ""),
    ),
    Recipe(
        "postgres",
        _shell(
            "install -d -o postgres /tmp/data",
            "exec setpriv --reuid=postgres --regid=postgres --clear-groups sh -ec '"
            f"{_POSTGRES}/initdb --auth=trust --locale=C --no-sync /tmp/data > /dev/null;"
            f'echo "select 6 * 7 as answer" | {_POSTGRES}/postgres --single -F -D /tmp/data postgres\'',
        ),
        r'(?s).*answer = "42".*',
        ("postgresql-15",),
    ),
    Recipe(
        "nginx",
        _shell(
            "ip link set lo up",
            "nginx",
            "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/80",
            'printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3\'',
        ),
        r"(?s)HTTP/1\.1 200 OK.*Welcome to nginx.*",
        ("nginx-light",),
        before="without security fixes",
    ),
    Recipe(
        "redis",
        _shell(
            "cd /tmp",
            "redis-server --port 0 --unixsocket /tmp/redis --save '' --daemonize yes > /dev/null",
            "until [ -S /tmp/redis ]; do sleep 0.05; done",
            "redis-cli -s /tmp/redis set answer 42 > /dev/null",
            "exec redis-cli -s /tmp/redis get answer",
        ),
        "42",
        ("redis-server",),
    ),
    Recipe(
        "ruby",
        ("/usr/bin/ruby", "-rjson", "-rset", "-e", "puts JSON.generate(answer: 6 * 7)"),
        r'\{"answer":42\}',
        ("ruby",),
    ),
    Recipe(
        "php",
        ("/usr/bin/php", "-r", 'echo json_encode(["answer" => 6 * 7]);'),
        r'\{"answer":42\}',
        ("php-cli",),
        before="without security fixes",
    ),
    Recipe(
        "erlang",
        ("/usr/bin/erl", "-noshell", "-eval", 'io:format("~p~n", [6 * 7]), halt().'),
        "42",
        ("erlang-base",),
    ),
    Recipe(
        "gcc",
        _shell(
            "cd /tmp",
            "printf '%s\\n' '#include <stdio.h>' 'int main(void) { printf(\"%d\\n\", 6 * 7); }' > a.c",
            "gcc -O2 -o a a.c",
            "exec ./a",
        ),
        "42",
        ("gcc", "libc6-dev"),
    ),
)  # fmt: skip
