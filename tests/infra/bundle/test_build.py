"""infra/bundle/build.py on a small project with a fake uv: what the zip contains, and when it is rebuilt."""

import os
import stat
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.bundle import build as bundling
from infra.bundle.build import Bundle
from infra.bundle.wheels import LAMBDA, Target
from infra.errors import BundleError

HERE = Target(python=f"{sys.version_info.major}.{sys.version_info.minor}", platform=None)

FAKE_UV = """#!{python}
import pathlib, sys
words = sys.argv[1:]
log = pathlib.Path({log!r})
log.write_text(log.read_text() + " ".join(words) + "\\n" if log.exists() else " ".join(words) + "\\n")
if "install" in words:
    if pathlib.Path({log!r} + ".refuse").exists():
        sys.exit("no wheel for this platform")
    target = pathlib.Path(words[words.index("--target") + 1])
    record = target / "library-1.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    for name in ("bin/tool", "library/__init__.py", "botocore/data/s3/x.json", "botocore/data/sqs/x.json"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("" if name != {damaged!r} else "damaged")
        with record.open("a") as lines:
            lines.write(name + ",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0" + chr(10))
    with record.open("a") as lines:
        lines.write("library-1.dist-info/RECORD,," + chr(10))
"""

Build = Callable[..., Bundle]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package has at least one of each kind of file that must not be shipped."""
    root = tmp_path / "project"
    files = {
        "uv.lock": "version = 1\n",
        "lambda_src/__init__.py": "",
        "lambda_src/bootstrap": "#!/bin/sh\n",
        "lambda_src/handler.py": "handler = None\n",
        "lambda_src/store/dev/kept.py": "",
        "lambda_src/web/index.html": "<!doctype html>\n",
        "lambda_src/dev/local.py": "",
        "lambda_src/cli/erase.py": "",
        "lambda_src/sdk/__init__.py": "",
        "lambda_src/sdk/testing.py": "",
        "lambda_src/sdk/store_contract.py": "",
        "lambda_src/__pycache__/handler.cpython-39.pyc": "",
        "lambda_src/.DS_Store": "",
        "tests/test_it.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def uv_log(tmp_path: Path) -> Path:
    return tmp_path / "uv.log"


@pytest.fixture
def build(project: Path, uv_log: Path, tmp_path: Path) -> Build:
    uv = tmp_path / "uv"
    uv.write_text(FAKE_UV.format(python=sys.executable, log=str(uv_log), damaged=""), encoding="utf-8")
    uv.chmod(0o755)

    def run(*, target: Target = HERE, out: Path | None = None, say: Callable[[str], None] = print) -> Bundle:
        return bundling.build(project, environ={**os.environ, "UV": str(uv)}, target=target, out=out, say=say)

    return run


def _names(bundle: Bundle) -> set[str]:
    return set(zipfile.ZipFile(bundle.zip).namelist())


def test_the_zip_has_our_code_and_the_libraries_but_no_tests_and_no_local_tools(build: Build) -> None:
    sources = {name for name in _names(build()) if not name.endswith(".pyc")}
    assert sources == {
        "lambda_src/__init__.py",
        "lambda_src/bootstrap",
        "lambda_src/handler.py",
        "lambda_src/sdk/__init__.py",
        "lambda_src/store/dev/kept.py",
        "lambda_src/web/index.html",
        "library/__init__.py",
        "library-1.dist-info/RECORD",
    }


def test_two_builds_at_a_time_wait_for_each_other(build: Build, uv_log: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        bundles = list(pool.map(lambda _: build(), range(2)))
    assert sorted(bundle.reused for bundle in bundles) == [False, True]
    assert sum("install" in line for line in uv_log.read_text().splitlines()) == 1


def test_every_module_has_bytecode_that_lambda_loads_without_checking_timestamps(build: Build) -> None:
    archive = zipfile.ZipFile(build().zip)
    compiled = [name for name in archive.namelist() if name.endswith(".pyc")]
    modules = [name for name in archive.namelist() if name.endswith(".py")]
    assert len(compiled) == len(modules)
    unchecked_hash = (0b01).to_bytes(4, "little")  # PEP 552
    assert {archive.read(name)[4:8] for name in compiled} == {unchecked_hash}


def test_the_wrapper_is_executable_whatever_its_mode_in_the_checkout(build: Build) -> None:
    modes = {
        entry.filename: stat.filemode(entry.external_attr >> 16) for entry in zipfile.ZipFile(build().zip).filelist
    }
    assert modes.pop("lambda_src/bootstrap") == "-rwxr-xr-x"
    assert set(modes.values()) == {"-rw-r--r--"}


def test_the_same_inputs_give_the_same_bytes(build: Build, tmp_path: Path) -> None:
    assert build().zip.read_bytes() == build(out=tmp_path / "again").zip.read_bytes()


def test_the_wheels_are_the_locked_ones_for_arm64_and_nothing_is_built_from_source(build: Build, uv_log: Path) -> None:
    build(target=LAMBDA["arm64"])
    export, install = [
        line for line in uv_log.read_text(encoding="utf-8").splitlines() if not line.startswith("python")
    ]
    assert "--frozen --no-default-groups --group agent" in export
    for option in ("--python-platform aarch64-", "--python-version 3.13", "--only-binary :all:", "--require-hashes"):
        assert option in install


def test_nothing_is_built_when_nothing_changed(build: Build, uv_log: Path) -> None:
    first = build()
    uv_log.unlink()
    second = build()
    assert (first.reused, second.reused, second.sizes) == (False, True, first.sizes)
    assert not uv_log.exists()


def test_a_change_to_our_code_is_shipped_without_installing_the_wheels_again(
    build: Build, project: Path, uv_log: Path
) -> None:
    build()
    uv_log.unlink()
    (project / "lambda_src" / "store" / "dev" / "kept.py").unlink()
    (project / "lambda_src" / "fresh.py").write_text("", encoding="utf-8")
    names = _names(build())
    assert "lambda_src/fresh.py" in names
    assert "lambda_src/store/dev/kept.py" not in names
    assert not uv_log.exists()


def test_a_zip_without_the_page_is_refused(build: Build, project: Path) -> None:
    (project / "lambda_src" / "web" / "index.html").unlink()
    with pytest.raises(BundleError, match="make page"):
        build()


def test_a_change_to_the_lock_file_installs_the_wheels_again(build: Build, project: Path, uv_log: Path) -> None:
    build()
    uv_log.unlink()
    (project / "uv.lock").write_text("version = 2\n", encoding="utf-8")
    build()
    assert " install " in uv_log.read_text(encoding="utf-8")


def test_an_aws_service_named_by_new_code_is_in_the_next_zip(build: Build, project: Path) -> None:
    build()
    (project / "lambda_src" / "tool.py").write_text('make_client("sqs")\n', encoding="utf-8")
    assert {name for name in _names(build()) if "botocore" in name} == {"botocore/data/sqs/x.json"}


def test_an_aws_operation_named_by_new_code_installs_the_wheels_again(
    build: Build, project: Path, uv_log: Path
) -> None:
    (project / "lambda_src" / "tool.py").write_text('queue = client("sqs")\n', encoding="utf-8")
    build()
    uv_log.unlink()
    (project / "lambda_src" / "tool.py").write_text('queue = client("sqs")\nqueue.send_messages()\n', encoding="utf-8")
    build()
    assert not uv_log.exists()
    (project / "lambda_src" / "tool.py").write_text('queue = client("sqs")\nqueue.send_message()\n', encoding="utf-8")
    build()
    assert " install " in uv_log.read_text(encoding="utf-8")


def test_a_modified_zip_is_not_reused(build: Build) -> None:
    build().zip.write_bytes(b"other")
    assert not build().reused


def test_a_failed_build_leaves_nothing_that_looks_finished(build: Build, project: Path, uv_log: Path) -> None:
    build()
    (project / "uv.lock").write_text("version = 2\n", encoding="utf-8")
    refuse = Path(f"{uv_log}.refuse")
    refuse.touch()
    with pytest.raises(BundleError, match="no wheel for this platform"):
        build()
    refuse.unlink()
    (project / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    assert not build().reused


@pytest.mark.parametrize("name", ["bootstrap", "handler.py"])
def test_a_package_that_lambda_could_not_start_is_refused(build: Build, project: Path, name: str) -> None:
    (project / "lambda_src" / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        build()


def test_a_wrapper_with_windows_line_endings_is_refused(build: Build, project: Path) -> None:
    (project / "lambda_src" / "bootstrap").write_bytes(b"#!/bin/sh\r\n")
    with pytest.raises(BundleError, match="line endings"):
        build()


def test_code_that_does_not_compile_is_refused(build: Build, project: Path) -> None:
    (project / "lambda_src" / "broken.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"broken\.py"):
        build()


def test_a_zip_over_lambdas_size_limit_is_refused(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "MAX_UNZIPPED_BYTES", 10)
    with pytest.raises(BundleError, match="over the limit of 40"):
        build()


def test_a_file_that_differs_from_its_wheel_is_never_shipped(build: Build, uv_log: Path, tmp_path: Path) -> None:
    damaged = FAKE_UV.format(python=sys.executable, log=str(uv_log), damaged="library/__init__.py")
    (tmp_path / "uv").write_text(damaged, encoding="utf-8")
    with pytest.raises(BundleError, match=r"library/__init__\.py: not what the wheels hold"):
        build()


def test_each_architecture_has_its_own_zip(build: Build) -> None:
    arm64, x86_64 = build(target=LAMBDA["arm64"]), build(target=LAMBDA["x86_64"])
    assert (arm64.zip.name, x86_64.zip.name) == ("lambda.zip", "lambda-x86_64.zip")
    assert build(target=LAMBDA["arm64"]).reused


def test_without_the_right_python_the_zip_has_no_bytecode_and_a_warning_is_printed(build: Build) -> None:
    printed: list[str] = []
    bundle = build(target=Target(python="3.99", platform=None), say=printed.append)
    assert printed[0].startswith("warning: Python 3.99 is not installed")
    assert not [name for name in _names(bundle) if name.endswith(".pyc")]
