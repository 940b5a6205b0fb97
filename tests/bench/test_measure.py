from __future__ import annotations

import importlib.util
import math
import shutil

import pytest

from medimageinsight.bench import BenchSettings, candidate_process, run, to_json
from medimageinsight.bundle import Bundle
from medimageinsight.errors import InputError, ModelError
from medimageinsight.network.config import ModelConfig
from medimageinsight.network.flops import image_flops, text_flops

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
EXPECTED = {"bundle", *(("eager", "tuned", "plain") if HAS_TORCH else ()), *(("openvino",) if HAS_OPENVINO else ())}
ONE = BenchSettings(batch_sizes=(1,), rounds=1, threads=1, baselines=("eager",))


def test_every_available_candidate_is_measured_in_every_case(measured):
    assert [result.case.label for result in measured.results] == ["1", "2", "12 tokens", "12 padded to 77"]
    for result in measured.results:
        assert {timing.candidate for timing in result.timings} == EXPECTED
        assert result.timings[0].candidate == "bundle"
        assert result.timings[0].ratio == 1.0
        for timing in result.timings:
            assert len(timing.samples) == 1
            assert all(
                math.isfinite(value) and value > 0 for value in (timing.median, timing.ratio, timing.times_floor)
            )
    assert measured.peak.flops_per_second > 0
    assert all(len(samples) == 4 for samples in measured.peak.samples.values())


def test_the_operations_needed_are_those_of_the_architecture(measured, mini):
    config = ModelConfig.from_dict(mini.manifest.architecture)
    one, two, prompt, padded = (result.flops for result in measured.results)
    assert (one, two) == (image_flops(config), 2 * image_flops(config))
    assert prompt == padded == text_flops(config, 12)


@pytest.mark.skipif(not HAS_TORCH, reason="needs the extra export")
def test_a_baseline_that_cannot_run_is_skipped_with_its_reason(measured):
    reasons = {(skipped.candidate, skipped.encoder): skipped.reason for skipped in measured.skipped}
    assert "needs a C++ compiler" in reasons["compile", "image"]
    assert "needs a C++ compiler" in reasons["compile", "text"]


def test_memory_and_the_cold_start_are_measured(measured):
    assert {(memory.candidate, memory.encoder) for memory in measured.memory} == {
        (name, encoder) for name in EXPECTED for encoder in ("image", "text")
    }
    assert len(measured.cold_start.opened) == 1
    assert 0 < measured.cold_start.opened[0] < measured.cold_start.first_embedding[0]


def test_files_are_counted_and_compared_with_the_network(measured):
    assert (measured.files.images, measured.files.failed, measured.files.batch) == (3, 1, 8)
    assert math.isfinite(measured.files.fraction)
    assert ".png" not in to_json(measured)


def test_progress_only_increases(measured, progress_steps):
    fractions = [fraction for _, fraction in progress_steps]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] <= 1.0


def test_a_baseline_whose_process_dies_in_warm_up_is_skipped(mini, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(candidate_process.importlib.util, "find_spec", lambda name: object())
    bench = run(mini, ONE)
    assert [timing.candidate for timing in bench.results[0].timings] == ["bundle"]
    assert "exit code 9" in bench.skipped[0].reason


def test_without_torch_the_bundle_is_measured_alone(mini, monkeypatch):
    monkeypatch.setattr(candidate_process.importlib.util, "find_spec", lambda name: None)
    bench = run(mini, ONE)
    assert {skipped.reason for skipped in bench.skipped} == {"needs the extra 'export'"}
    assert len(bench.results) == 3
    assert bench.files is None


def test_a_bundle_that_cannot_be_loaded_is_an_error(mini, tmp_path):
    folder = shutil.copytree(mini.folder, tmp_path / "mini")
    graph = folder / "image_encoder.onnx"
    content = bytearray(graph.read_bytes())
    content[-1] ^= 1
    graph.write_bytes(content)
    with pytest.raises(ModelError) as failed:
        run(Bundle.open(folder), ONE)
    assert failed.value.code == "bundle_checksum"


def test_rejects_files_without_any_image(mini, tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(InputError) as caught:
        run(mini, ONE, images=[str(tmp_path / "a.png")])
    assert caught.value.code == "images_unusable"


def test_rejects_an_unknown_provider(mini):
    with pytest.raises(InputError) as caught:
        run(mini, BenchSettings(provider="abacus"))
    assert caught.value.code == "provider_unknown"
