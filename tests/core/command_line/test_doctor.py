from core.command_line import doctor
from core.command_line.doctor import Finding, check_libraries, check_package, requirements


def test_the_ranges_come_from_the_packaging(tmp_path, monkeypatch):
    python, lines = requirements()
    assert python.replace(" ", "") in (">=3.11,<3.12", "<3.12,>=3.11")
    assert any(line.startswith("keras") for line in lines)


def test_a_package_is_compared_with_its_range():
    assert check_package("numpy>=1").status == "ok"
    old = check_package("numpy<1.0")
    assert old.status == "missing" and old.found.endswith("needs <1.0")
    assert old.advice == "pip install 'numpy<1.0'"
    absent = check_package("no-such-package>=2")
    assert (absent.status, absent.found) == ("missing", "not installed")
    assert check_package('open3d>=0.20; extra == "lidar"') is None


def test_missing_libraries_are_named_by_their_debian_package():
    assert check_libraries({"libnowhere.so.9": "libnowhere9", "libc.so.6": "libc6"}) == [
        "libnowhere9"
    ]


def test_open3d_is_never_more_than_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.20.0")
    monkeypatch.setattr(doctor, "_missing_libraries", lambda: ["libgl1", "libgomp1"])
    assert doctor._open3d() == [
        Finding(
            "open3d (lidar app)",
            "warning",
            "0.20.0, lacks system libraries",
            "apt install libgl1 libgomp1",
        )
    ]

    def absent(name):
        raise doctor.metadata.PackageNotFoundError

    monkeypatch.setattr(doctor.metadata, "version", absent)
    (finding,) = doctor._open3d()
    assert finding.status == "optional" and "gossamer-keras[lidar]" in finding.advice


def test_a_library_that_does_not_run_is_found(monkeypatch):
    monkeypatch.setattr(doctor, "_LITERT_PROBE", "raise RuntimeError('no such instruction')")
    (finding,) = doctor._litert()
    assert (finding.status, finding.found) == ("missing", "RuntimeError: no such instruction")


def test_litert_runs_the_tiny_file():
    assert doctor._litert()[0].status == "ok"


def test_a_processor_without_avx_cannot_work(monkeypatch):
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(doctor.Path, "read_text", lambda *_, **__: "flags : fpu sse sse2\n")
    (finding,) = doctor._processor()
    assert finding.status == "missing" and "AVX" in finding.advice


def test_a_full_disk_and_little_memory_are_warnings(monkeypatch):
    usage = type("usage", (), {"free": 5e8})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor._disk()[0].status == "warning"
    content = "MemTotal: 4000000 kB\nMemAvailable: 900000 kB\n"
    monkeypatch.setattr(doctor.Path, "read_text", lambda *_, **__: content)
    (finding,) = doctor._memory()
    assert (finding.status, finding.found) == ("warning", "0.9 GB free of 4.1 GB")
