from __future__ import annotations

from dataclasses import replace

import pytest

from medimageinsight.network.config import RELEASED, TextEncoderConfig
from medimageinsight.network.flops import image_flops, text_flops


def test_the_released_size_comes_to_its_known_figures():
    assert image_flops(RELEASED) == pytest.approx(576e9, rel=0.01)
    assert text_flops(RELEASED, 77) == pytest.approx(31e9, rel=0.05)


def test_a_short_text_needs_its_own_tokens_only():
    assert text_flops(RELEASED, 77) / text_flops(RELEASED, 12) == pytest.approx(77 / 12, rel=0.02)


def test_one_token_and_one_layer_by_hand():
    text = TextEncoderConfig(width=8, heads=2, layers=1)
    config = replace(RELEASED, text=text, embedding_dim=4)
    macs = 3 * 64 + 64 + 2 * 4 * 64 + 2 * 8 + 8 * 4  # qkv, projection, MLP, attention, into the common space
    assert text_flops(config, 1) == 2 * macs


def test_pad_positions_of_a_window_cost_one_key():
    whole = replace(RELEASED.image, image_size=(96, 96), window=3)  # 24, 12, 6 and 3 tokens a side
    padded = replace(whole, window=24)
    pairs = lambda image: image_flops(replace(RELEASED, image=image))  # noqa: E731
    stages = zip((256, 512, 1024, 2048), (1, 1, 9, 1), (576, 144, 36, 9), strict=True)
    more = sum(
        2 * 2 * width * depth * (tokens * (tokens + (tokens < 576)) - tokens * 9) for width, depth, tokens in stages
    )
    assert pairs(padded) - pairs(whole) == more
