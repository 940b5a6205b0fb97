"""What the examples of requests are made of."""

TEXT = "x-ray chest anteroposterior Cardiomegaly"
OTHER_TEXT = "x-ray chest anteroposterior No Finding"

# 8 x 8 grey gradient, 75 bytes: pixels = np.tile((np.arange(8) * 36).astype(np.uint8), (8, 1)), then
# Image.fromarray(pixels).save(file, "PNG", optimize=True) with Pillow.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEklEQVR42mNkUIEAJgYoII8BAER8AQwcQTkPAAAAAElFTkSuQmCC"
PNG_URI = f"data:image/png;base64,{PNG}"
