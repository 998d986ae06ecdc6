"""Keys and modes."""
import pytest
from pack.recipe import KeyMissing, Mode, Recipe, number_key, text_encoder


@pytest.mark.parametrize(
    "recipe, key",
    [
        (Recipe("ckpt", ("a.safetensors",)), "a.safetensors"),
        (Recipe("unclip_ckpt", ("a.safetensors",)), "a.safetensors"),
        (Recipe("vae", ("v.safetensors",)), "v.safetensors"),
        (Recipe("diffusion_model", ("u.safetensors",), weight_dtype="fp8_e5m2"), "u.safetensors_fp8_e5m2"),
        (text_encoder(["l", "None", "g"], "sdxl"), "l_g_sdxl_default"),
        (text_encoder(["t5"], "sd3", "cpu"), "t5_sd3_cpu"),
        (text_encoder(["1", "2", "3", "4"], "hidream"), "1_2_3_4_hidream_default"),
    ],
)
def test_a_key_that_nobody_gave_is_made_of_the_files(recipe, key):
    assert recipe.key_for("") == recipe.key_for(None) == recipe.key_for("  ") == key


@pytest.mark.parametrize("mode", Mode)
def test_a_given_key_counts_in_each_mode_without_the_blanks_around_it(mode):
    assert Recipe("ckpt", ("a",)).key_for(" mine ", mode) == "mine"


def test_read_only_without_a_key_is_an_error():
    with pytest.raises(KeyMissing, match="'Read Only'.*needs that model's key"):
        Recipe("ckpt", ("a",)).key_for("", Mode.READ_ONLY)


@pytest.mark.parametrize("names", [["a", "a"], ["a", "b", "a"], ["None", "None"], []])
def test_text_encoders_are_files_that_differ(names):
    with pytest.raises(ValueError):
        text_encoder(names, "sd3")


def test_a_number_is_no_text():
    assert number_key(7) != "7"
