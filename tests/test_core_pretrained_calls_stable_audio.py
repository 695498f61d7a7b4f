"""Calls by a tiny pipeline of the real classes, built on disk: prompts, seeds, the best one."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from core.audio import read_audio
from core.errors import UserError
from core.files import read_json
from core.parts import make_everything
from core.pretrained.asked import Animal
from core.pretrained.calls.choosing import Quality, judge
from core.pretrained.calls.config import CallsConfig
from core.pretrained.calls.levels import finished
from core.pretrained.calls.synthesis import synthesise
from core.pretrained.calls.work import CallsWork

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")


def tokenizer_in(folder):
    """A tokenizer of a few words, made here: nothing can be fetched."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "a", "call", "of", "one", "cat", "dog", "the", "music", ","]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=16,
    )


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A Stable Audio of 16,000 Hz with random weights, saved as safetensors."""
    import torch
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    tokenizer = tokenizer_in(tmp_path_factory.mktemp("words"))
    text = T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    made = StableAudioPipeline(
        transformer=StableAudioDiTModel(
            sample_size=512,
            in_channels=3,
            num_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            num_key_value_attention_heads=2,
            out_channels=3,
            cross_attention_dim=4,
            time_proj_dim=8,
            global_states_input_dim=8,
            cross_attention_input_dim=4,
        ),
        scheduler=CosineDPMSolverMultistepScheduler(
            solver_order=2,
            prediction_type="v_prediction",
            sigma_data=1.0,
            sigma_schedule="exponential",
        ),
        vae=AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[8, 8],
            channel_multiples=[1, 2],
            decoder_channels=4,
            decoder_input_channels=3,
            audio_channels=2,
            sampling_rate=16_000,
        ),
        text_encoder=T5EncoderModel(text),
        tokenizer=tokenizer,
        projection_model=StableAudioProjectionModel(
            text_encoder_dim=8, conditioning_dim=4, min_value=0, max_value=32
        ),
    )
    folder = tmp_path_factory.mktemp("pipelines") / "tiny stable audio"
    made.save_pretrained(folder, safe_serialization=True)
    return folder


def config_of(pipeline, **changes):
    settings = {
        "steps": 2,
        "waveforms": 2,
        "seconds": 1.0,
        "classes": ("cat", "dog"),
        "per_class": 1,
    }
    return CallsConfig(pipeline=str(pipeline), **{**settings, **changes})


@pytest.mark.slow
def test_a_pipeline_gives_calls_that_depend_on_the_seed_alone(pipeline, tmp_path):
    make_everything(CallsWork(config_of(pipeline), tmp_path / "both"))
    make_everything(CallsWork(config_of(pipeline, classes=("dog",)), tmp_path / "dog"))
    one, other = (tmp_path / name / "dog_000000.wav" for name in ("both", "dog"))
    assert one.read_bytes() == other.read_bytes()
    cat = read_audio(tmp_path / "both" / "cat_000000.wav")
    assert (cat.rate_hz, cat.channels) == (16_000, 1)
    assert 1.0 <= cat.seconds <= 1.1
    assert np.abs(cat.samples).max() <= 10 ** (-1 / 20)
    assert np.abs(cat.samples[:80]).max() < 10 ** (-50 / 20)
    facts = read_json(tmp_path / "both" / "calls.json")
    row = facts["calls"][0]
    assert len(row["candidates"]) == 2
    ranks = [Quality(**candidate).rank for candidate in row["candidates"]]
    assert row["kept"] == min(range(2), key=lambda place: ranks[place])
    assert str(pipeline.parent) not in (tmp_path / "both" / "calls.json").read_text()


@pytest.mark.slow
def test_prompt_negative_prompt_and_number_of_waveforms_reach_the_pipeline(pipeline):
    from core.pretrained.calls.stable_audio import StableAudio

    sounds = {}
    for name, changes in {
        "plain": {},
        "prompt": {"prompt": "music of {label}"},
        "negative": {"negative_prompt": "a dog"},
        "three": {"waveforms": 3},
    }.items():
        loaded = StableAudio(config_of(pipeline, **changes), "cpu")
        sounds[name] = loaded._candidates(Animal(label="cat", seed=1))
    assert [len(waves) for waves in sounds.values()] == [2, 2, 2, 3]
    assert not np.array_equal(sounds["plain"][0], sounds["prompt"][0])
    assert not np.array_equal(sounds["plain"][0], sounds["negative"][0])
    np.testing.assert_allclose(sounds["plain"][1], sounds["three"][1], atol=1e-4)


def test_the_rule_prefers_what_sounds_like_the_class_and_does_not_clip_or_pause():
    dog, cat = synthesise("dog", 40), synthesise("cat", 40)
    half = np.concatenate([dog, np.zeros(2 * len(dog))])
    clipped = np.clip(40 * dog, -1, 1)
    ranks = [judge(wave, 32_000, "dog").rank for wave in (dog, cat, clipped)]
    assert sorted(ranks) == ranks
    assert judge(half, 32_000, "dog").silent > judge(dog, 32_000, "dog").silent + 0.3
    assert judge(half, 32_000, "dog").rank > judge(dog, 32_000, "dog").rank
    assert not judge(np.zeros(32_000), 32_000, "dog").usable
    assert judge(np.zeros(32_000), 32_000, "dog").rank > judge(clipped, 32_000, "dog").rank


def test_what_is_usable_can_be_levelled_and_noise_too_quiet_for_it_is_silent():
    noise = np.random.default_rng(0).standard_normal(32_000)
    rumble = 0.003 * np.sin(2 * np.pi * 5 * np.arange(32_000) / 32_000)
    for wave in (1e-4 * noise, rumble, noise[:0]):
        assert not judge(wave, 32_000, "dog").usable
        with pytest.raises(UserError, match="is silent"):
            finished(wave, 32_000)
    for amplitude in np.geomspace(1e-4, 1e-2, 20):
        if judge(amplitude * noise, 32_000, "dog").usable:
            assert np.isfinite(finished(amplitude * noise, 32_000)).all()


@pytest.mark.slow
def test_what_is_no_such_pipeline_is_one_line(pipeline, tmp_path):
    from core.pretrained.calls.stable_audio import StableAudio

    with pytest.raises(UserError, match="is no readable StableAudioPipeline"):
        StableAudio(config_of(tmp_path), "cpu")
    with pytest.raises(UserError, match=r"makes at most 2\.05 s"):
        StableAudio(config_of(pipeline, seconds=3.0), "cpu")


@pytest.mark.slow
def test_a_pipeline_of_the_hub_is_recorded_with_its_commit(pipeline, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--team--tiny"
    shutil.copytree(pipeline, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    make_everything(CallsWork(config_of("team/tiny", classes=("dog",)), tmp_path / "calls"))
    facts = read_json(tmp_path / "calls" / "calls.json")
    assert facts["engine"]["pipeline"] == "team/tiny"
    assert {call["commit"] for call in facts["calls"]} == {commit}


@pytest.mark.slow
def test_a_name_that_cannot_be_fetched_is_one_line(tmp_path):
    code = "import sys; from jobs import calls; sys.exit(calls.main())"
    flags = ["--cluster", "inline", "--classes", "cat", "--pipeline", "nobody/nothing"]
    offline = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code, *flags, "--out", str(tmp_path / "out")],
        env=offline,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    lines = [line for line in ended.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert "nobody/nothing is no folder, and could not be fetched" in lines[0]
