"""A Keras file may hold a function as bytecode: it is refused, and never run."""

from __future__ import annotations

import pytest

from transforms.core.model.file import open_model


def test_a_keras_file_with_a_lambda_is_refused_unread(tmp_path):
    import keras

    marker = tmp_path / "ran"
    path = str(marker)
    pixels = keras.Input((4, 4, 3))
    code = keras.layers.Lambda(lambda images: (open(path, "w").close(), images)[1], name="code")
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(code(pixels))).save(tmp_path / "model.keras")
    marker.unlink(missing_ok=True)  # building it ran it
    with pytest.raises(ValueError, match=r"Keras cannot load it in safe mode.*[Ll]ambda"):
        open_model(str(tmp_path / "model.keras"))
    assert not marker.exists()
