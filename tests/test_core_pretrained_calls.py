"""Calls by the embedded synthesiser: told apart by class, alike within, clean and level."""

import numpy as np
import pytest

from core.audio import decode_audio, resample, wav_bytes
from core.errors import UserError
from core.files import digest_bytes
from core.pretrained.calls.features import features, spectrogram
from core.pretrained.calls.levels import finished, loudness_lufs
from core.pretrained.calls.others import KINDS
from core.pretrained.calls.recipes import OTHERS, STARTERS, recipe_of
from core.pretrained.calls.syllables import RATE_HZ, Resonance, Syllable, render, tract_response
from core.pretrained.calls.synthesis import synthesise

MORE = ("cow", "wolf", "duck", "cricket", "dragon", "unicorn")
FIVE_MS = RATE_HZ * 5 // 1000


@pytest.fixture(scope="module")
def calls():
    """Twelve calls of each starter class."""
    return {label: [synthesise(label, seed) for seed in range(12)] for label in STARTERS}


def test_calls_neither_clip_nor_click_and_are_equally_loud(calls):
    everything = [wave for waves in calls.values() for wave in waves]
    everything += [synthesise(label, seed) for label in MORE for seed in range(3)]
    for wave in everything:
        assert 1.0 <= len(wave) / RATE_HZ <= 3.0
        assert np.abs(wave).max() <= 10 ** (-1 / 20)
        assert np.abs(wave[:FIVE_MS]).max() < 10 ** (-50 / 20)
        assert np.abs(wave[-FIVE_MS:]).max() < 10 ** (-50 / 20)
        assert abs(np.mean(wave)) < 1e-3
        assert loudness_lufs(wave, RATE_HZ) == pytest.approx(-20, abs=1)


def test_a_classifier_that_never_heard_them_tells_the_classes_apart(calls):
    heard = {
        label: np.array([features(w, RATE_HZ) for w in waves]) for label, waves in calls.items()
    }
    middles = np.array([found[:6].mean(axis=0) for found in heard.values()])
    spread = np.mean([found[:6].std(axis=0) for found in heard.values()], axis=0)
    right = [
        place == np.argmin((((one - middles) / spread) ** 2).sum(axis=1))
        for place, found in enumerate(heard.values())
        for one in found[6:]
    ]
    assert np.mean(right) >= 0.9


def test_calls_of_a_class_are_alike_but_no_two_are_equal(calls):
    heard = {
        label: np.array([features(w, RATE_HZ) for w in waves]) for label, waves in calls.items()
    }
    spread = np.mean([found.std(axis=0) for found in heard.values()], axis=0)
    heard = {label: found / spread for label, found in heard.items()}
    middles = {label: found.mean(axis=0) for label, found in heard.items()}
    for label, found in heard.items():
        within = np.linalg.norm(found - middles[label], axis=1).mean()
        others = [np.linalg.norm(middles[label] - middles[o]) for o in middles if o != label]
        assert within < min(others), label
        assert len({wave.tobytes() for wave in calls[label]}) == len(found)


def test_the_same_class_and_seed_give_the_same_bytes():
    for label in ("dog", "dragon"):
        one, other = (wav_bytes(synthesise(label, 3).astype("float32"), RATE_HZ) for _ in range(2))
        assert digest_bytes(one) == digest_bytes(other)
        heard = decode_audio(one)
        assert (heard.rate_hz, heard.channels) == (RATE_HZ, 1)


def test_every_kind_and_any_name_has_a_call_of_its_own():
    assert {recipe_of(label).kind for label in STARTERS} < set(KINDS)
    assert {recipe.kind for recipe in (*STARTERS.values(), *OTHERS.values())} == set(KINDS)
    assert recipe_of("dragon") == recipe_of("dragon")
    recipes = {recipe_of(f"beast {n}") for n in range(50)}
    assert len(recipes) == 50
    assert len({recipe.kind for recipe in recipes}) > 8


def test_a_vowel_has_its_peaks_where_its_resonances_are():
    mouth = tuple(Resonance(hz=((0.0, hz),), width_hz=90) for hz in (700.0, 1800.0))
    sung = Syllable(
        at_s=0,
        length_s=0.5,
        pitch_hz=((0, 100.0), (1, 100.0)),
        loud=((0, 1), (1, 1)),
        tract=mouth,
        tilt_db=-6,
        jitter=0,
    )
    wave = render(sung, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    hz = np.fft.rfftfreq(len(wave), 1 / RATE_HZ)

    def near(middle):
        return power[np.abs(hz - middle) < 60].sum()

    assert near(700) > 10 * near(1200)
    assert near(1800) > 3 * near(1200)
    assert hz[np.argmax(power)] % 100 == pytest.approx(0, abs=4) or hz[np.argmax(power)] % 100 > 96
    assert np.abs(tract_response(mouth, np.array([0.0]), np.array([0.5]))) == pytest.approx(1)


def test_the_pitch_of_a_fast_slide_never_folds_back():
    slide = Syllable(
        at_s=0,
        length_s=0.3,
        pitch_hz=((0, 3000.0), (1, 13000.0)),
        loud=((0, 1), (1, 1)),
        tilt_db=0,
        jitter=0,
    )
    wave = render(slide, np.random.default_rng(0))
    end = wave[-512:] * np.hanning(512)
    power = np.abs(np.fft.rfft(end)) ** 2
    hz = np.fft.rfftfreq(512, 1 / RATE_HZ)
    assert power[hz < 10_000].sum() < 1e-4 * power.sum()


def test_loudness_is_that_of_the_standard():
    # ITU-R BS.1770-4: a sine of 997 Hz at full scale on one channel is -3.01 LUFS.
    for rate_hz in (32_000, 44_100, 48_000):
        time_s = np.arange(2 * rate_hz) / rate_hz
        tone = np.sin(2 * np.pi * 997 * time_s)
        assert loudness_lufs(tone, rate_hz) == pytest.approx(-3.01, abs=0.05)
        assert loudness_lufs(0.1 * tone, rate_hz) == pytest.approx(-23.01, abs=0.05)
        # Pauses do not count.
        paused = np.concatenate([tone, np.zeros(8 * rate_hz)])
        assert loudness_lufs(paused, rate_hz) == pytest.approx(-3.01, abs=0.8)


def test_any_sound_is_made_into_a_call_or_refused():
    rng = np.random.default_rng(0)
    peaky = 0.01 * rng.standard_normal(44_100)
    peaky[::4000] = 40
    made = finished(peaky, 44_100)
    assert np.abs(made).max() <= 10 ** (-1 / 20)
    with pytest.raises(UserError, match="is silent"):
        finished(np.zeros(1000), 32_000)
    with pytest.raises(UserError, match="numbers that are none"):
        finished(np.array([np.nan] * 1000), 32_000)


def test_a_spectrogram_shows_high_tones_high_up():
    time_s = np.arange(RATE_HZ) / RATE_HZ
    low, high = (spectrogram(np.sin(2 * np.pi * hz * time_s), RATE_HZ) for hz in (300, 5000))
    assert low.shape[2] == 3
    rows = [int(np.argmax(picture.astype(int).sum(axis=(1, 2)))) for picture in (low, high)]
    assert rows[0] > 2 * rows[1]


@pytest.mark.realdata
def test_an_audio_tagger_hears_the_animals(real_data, calls):
    pytest.importorskip("ai_edge_litert.interpreter")
    from core.pretrained.listening.yamnet import open_yamnet

    tagger = open_yamnet(real_data / "weights" / "yamnet.tflite")
    wanted = {
        **{"bird": {"Bird"}, "cat": {"Cat", "Meow"}, "dog": {"Dog", "Bark"}, "frog": {"Frog"}},
        **{"horse": {"Horse", "Neigh, whinny"}},
    }
    share = {}
    for label, tags in wanted.items():
        best = [
            tagger.hear(resample(wave.astype(np.float32), RATE_HZ, 16_000)).max(axis=0)
            for wave in calls[label]
        ]
        top = [{tagger.categories[n] for n in np.argsort(-scores)[:5]} for scores in best]
        share[label] = np.mean([bool(names & tags) for names in top])
    assert min(share.values()) >= 0.7, share
