"""Counting instructions in nvdisasm's output, which is stored here in part."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bench.sass import HEADER, cubins, faults, headers, main, parse, read, table

from bench import sass

NAMES = {
    "Int8Codes": "_ZN5idsim4cuda42_GLOBAL__N__2592f4cd_4_t_cu_43b1bee7_1407811scan_groupsINS1_9Int8CodesELi2ENS1_"
    "14ListCandidatesILb0EEEEEv14CUtensorMap_stPimm",
    "HalfCodes": "_ZN5idsim4cuda42_GLOBAL__N__2592f4cd_4_t_cu_43b1bee7_1407811scan_groupsINS1_9HalfCodesELi1ENS1_"
    "14ListCandidatesILb0EEEEEv14CUtensorMap_stPimm",
    "tiles": "_ZN5idsim4cuda42_GLOBAL__N__2592f4cd_4_t_cu_43b1bee7_1407810scan_tilesINS1_9HalfCodesEEEvPiPKi",
}
INT8 = "IGMMA.64x8x32.S8.U8 R24, gdesc[UR8], RZ, !UPT, gsb0 ;"
HALF = "HGMMA.64x8x16.F32 R24, gdesc[UR4], RZ, !UPT, gsb0 ;"
GROUPS = """\
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_15:
        /*0130*/                   SYNCS.EXCH.64 URZ, [UR9], UR4 ;
        /*0160*/                   SYNCS.ARRIVE.TRANS64 RZ, [UR9], R0 ;
        /*0180*/               @P0 ELECT P1, URZ, PT ;
        /*0190*/              @!P0 UTMALDG.2D [UR8], [UR4] ;
        /*01c0*/               @P0 BRA.U.ANY `(.L_x_10) ;
        /*0240*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R0 ;
        /*0260*/                   WARPGROUP.ARRIVE ;
        /*02a0*/                   PRODUCT
        /*02c0*/                   WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
        /*02d0*/                   VIMNMX R26, R26, R27, !PT ;
        /*02e0*/                   VIMNMX3 R25, R24, R25, R26, !PT ;
        /*0350*/                   NOP;
"""
TILES = """\
        /*02e0*/                   HMMA.16816.F32 R24, R4, R8, RZ ;
        /*02f0*/                   STL.128 [R1], R4 ;
        /*0300*/                   IMMA.16832.U8.S8 R4, R4.ROW, R8.COL, RZ ;
        /*0450*/              @!P1 LDL R9, [R16] ;
"""
needs_cxxfilt = pytest.mark.skipif(shutil.which("c++filt") is None, reason="c++filt was not found")


def section(name: str, code: str) -> str:
    return (
        f"//--------------------- .text.{name} --------------------------\n"
        f'\t.section\t.text.{name},"ax",@progbits\n\t.align\t128\n.text.{name}:\n'
        f"        .type           {name},@function\n{name}:\n{code}"
    )


def listing(int8: str = "", half: str = "", others: str = "") -> str:
    int8, half = int8 or GROUPS.replace("PRODUCT", INT8), half or GROUPS.replace("PRODUCT", HALF)
    parts = [section(NAMES["Int8Codes"], int8), section(NAMES["HalfCodes"], half)]
    return "\t.target\tsm_90a\n\n" + "\n".join([*parts, others])


@needs_cxxfilt
def test_instructions_are_counted():
    first, second, third = parse(listing(others=section(NAMES["tiles"], TILES)))
    assert first.name == "scan_groups<Int8Codes, 2, ListCandidates<false>>"
    assert {column: first.count(column) for column in sass.COUNTED} == {
        "IGMMA": 1, "HGMMA": 0, "IMMA": 0, "HMMA": 0, "UTMALDG": 1,
        "SYNCS": 3, "VIMNMX3": 1, "WARPGROUP": 2, "local": 0,
    }  # fmt: skip
    assert first.operations.total() == GROUPS.count("/*0")
    assert (second.count("IGMMA"), second.count("HGMMA")) == (0, 1)
    assert third.name == "scan_tiles<HalfCodes>"
    assert [third.count(column) for column in ("IMMA", "HMMA", "local")] == [1, 1, 2]
    assert (
        table([third]).splitlines()[2]
        == "| `scan_tiles<HalfCodes>` | 4 | – | – | 1 | 1 | – | – | – | – | 2 |"
    )


@needs_cxxfilt
@pytest.mark.parametrize(
    ("where", "code", "wrong"),
    [
        ("int8", GROUPS.replace("PRODUCT", HALF), "has no IGMMA"),
        ("half", GROUPS.replace("PRODUCT", INT8), "has no HGMMA"),
        ("int8", GROUPS.replace("PRODUCT", INT8).replace("UTMALDG", "UBLKCP"), "has no UTMALDG"),
        ("int8", GROUPS.replace("PRODUCT", INT8) + TILES.splitlines()[2], "has 1 IMMA: products of single warps"),
        ("half", GROUPS.replace("PRODUCT", HALF) + TILES.splitlines()[0], "has 1 HMMA: products of single warps"),
        ("half", GROUPS.replace("PRODUCT", HALF) + TILES.splitlines()[1], "uses local memory: 1 loads and stores"),
        ("int8", GROUPS.replace("PRODUCT", INT8) + TILES.splitlines()[3], "uses local memory: 1 loads and stores"),
    ],
)  # fmt: skip
def test_what_is_wrong(where: str, code: str, wrong: str):
    tiles = section(NAMES["tiles"], TILES)  # kernels of other devices may hold what these must not
    assert faults(parse(listing(others=tiles))) == []
    (found,) = faults(parse(listing(**{where: code}, others=tiles)))
    assert found.startswith(f"scan_groups<{'Int8Codes' if where == 'int8' else 'HalfCodes'}, ")
    assert found.endswith(wrong)


@needs_cxxfilt
def test_kernels_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = tmp_path / "sass"
    text.write_text(listing())
    assert main(["--text", str(text), "--check"]) == 0
    text.write_text(section(NAMES["tiles"], TILES))
    assert main(["--text", str(text)]) == 0
    assert main(["--text", str(text), "--check"]) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [
        f"there is no kernel scan_groups of {codes} for sm_90a" for codes in ("Int8Codes", "HalfCodes")
    ]


def made_cubin(flags: int, machine: int = 190, content: bytes = b"scan_") -> bytes:
    ident = b"\x7fELF\x02\x01\x01A\x08".ljust(16, b"\0")
    end = HEADER.size + len(content)
    return HEADER.pack(ident, 2, machine, 1, 0, HEADER.size, end - 64, flags, 64, 56, 0, 64, 1, 0) + content


def test_cubins_within_other_files():
    ours, before = made_cubin(0x06005A04), made_cubin(0x0000055A)
    other, host = made_cubin(0x06005904), made_cubin(0, machine=62)
    assert list(cubins(ours)) == [ours]
    assert list(cubins(b"!<arch>\n" + host + b"\1" * 13 + other + ours + before + b"\x7fELF")) == [
        ours,
        before,
    ]


@pytest.fixture
def fake_nvdisasm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/nvdisasm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/listing\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "listing"


@needs_cxxfilt
def test_a_library(tmp_path: Path, fake_nvdisasm: Path, capsys: pytest.CaptureFixture[str]):
    fake_nvdisasm.write_text(listing())
    library = tmp_path / "library.a"
    library.write_bytes(b"!<arch>\n" + made_cubin(0x06005A04))
    assert main([str(library), "--check"]) == 0
    assert capsys.readouterr().out.count("| `scan_groups<") == 2
    assert main(["--find"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/bin/nvdisasm\n"
    # The flags of a cubin are not documented: the target in the listing has the last word.
    fake_nvdisasm.write_text(listing().replace("sm_90a", "sm_90"))
    assert read("nvdisasm", [library]) == []
    library.write_bytes(b"!<arch>\n")
    with pytest.raises(
        SystemExit, match=r"library\.a holds no machine code for sm_90a, or holds it compressed"
    ):
        main([str(library)])


def test_without_nvdisasm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sass, "PACKAGE", "no-such-package")
    assert main(["--check"]) == 5
    assert "pip install no-such-package" in capsys.readouterr().err
    broken = tmp_path / "nvdisasm"
    broken.write_text("#!/bin/sh\necho cannot read it >&2; exit 3\n")
    broken.chmod(0o755)
    cubin = tmp_path / "one.cubin"
    cubin.write_bytes(made_cubin(0x06005A04))
    with pytest.raises(SystemExit, match="nvdisasm, status 3: cannot read it"):
        main([str(cubin)])


def test_headers_of_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sass, "ROOT", tmp_path)
    files = {
        "a.cu": '#include "b.cuh"\n#include <c>',
        "b.cuh": '#include "c.cuh"',
        "c.cuh": '#include "b.cuh"',
    }
    (tmp_path / "csrc").mkdir()
    for name, text in files.items():
        (tmp_path / "csrc" / name).write_text(text)
    assert {path.name for path in headers(tmp_path / "csrc/a.cu")} == {"b.cuh", "c.cuh"}
