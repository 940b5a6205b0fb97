"""Floating-point operations of the network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medimageinsight.network import RELEASED, TextEncoderConfig, image_flops, text_flops


def test_counts_of_the_released_size():
    assert image_flops(RELEASED) == pytest.approx(576e9, rel=0.01)
    assert text_flops(RELEASED, 77) == pytest.approx(31e9, rel=0.05)


def test_text_count_is_proportional_to_its_tokens():
    assert text_flops(RELEASED, 77) / text_flops(RELEASED, 12) == pytest.approx(77 / 12, rel=0.02)


def test_count_of_one_token_and_one_layer_by_hand():
    text = TextEncoderConfig(width=8, heads=2, layers=1)
    config = replace(RELEASED, text=text, embedding_dim=4)
    macs = 3 * 64 + 64 + 2 * 4 * 64 + 2 * 8 + 8 * 4  # qkv, projection, MLP, attention, embedding
    assert text_flops(config, 1) == 2 * macs


def test_pad_positions_of_a_window_count_as_one_key():
    whole = replace(RELEASED.image, image_size=(96, 96), window=3)  # grids of 24, 12, 6 and 3 tokens squared
    padded = replace(whole, window=24)

    def count(image):
        return image_flops(replace(RELEASED, image=image))

    stages = zip((256, 512, 1024, 2048), (1, 1, 9, 1), (576, 144, 36, 9), strict=True)
    expected = sum(
        2 * 2 * width * depth * (tokens * (tokens + (tokens < 576)) - tokens * 9) for width, depth, tokens in stages
    )
    assert count(padded) - count(whole) == expected
