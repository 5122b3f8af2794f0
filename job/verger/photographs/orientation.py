"""Photographs turned upright."""

from __future__ import annotations

from PIL import ExifTags, Image, ImageOps

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge of a part of an image, pixels."""

# Keys of Image.info that may hold an orientation.
_ORIENTED_BY = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}

# Orientations of EXIF that swap width and height, and those that move the right edge to the left, and the lower one up.
_SIDEWAYS, _RIGHT_TO_LEFT, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn loaded pixels as EXIF or XMP says. Pillow has already turned a TIFF when it is loaded.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, as in a PNG the metadata may follow the pixels. It is turned in place.

    Returns
    -------
    PIL.Image.Image
        The same image.
    """
    if image.info.keys() & _ORIENTED_BY:
        try:
            ImageOps.exif_transpose(image, in_place=True)
        except MemoryError:
            raise
        except Exception:  # damaged metadata; where the orientation can be read, the pixels are turned by now
            return image
    return image


def locate(
    image: Image.Image, whole: tuple[int, int], extent: tuple[float, float]
) -> tuple[Image.Image, Box, tuple[int, int]]:
    """Turn loaded pixels upright; tell where in them the photograph is, and what size the whole of it has upright.

    It is everywhere in them, but for the last column and row of a JPEG that was decoded at a smaller size.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, and not yet turned.
    whole : (int, int)
        Width and height of the photograph before it was loaded, pixels.
    extent : (float, float)
        Exact width and height of what was decoded, pixels. Of a JPEG that was decoded at a smaller size, they are
        less than those of ``image`` by less than one.

    Returns
    -------
    upright : PIL.Image.Image
        The image, turned.
    box : Box
        Where in it the photograph is.
    whole : (int, int)
        Width and height of the photograph when it is upright, pixels.
    """
    if extent == whole:
        upright = turn_upright(image)
        return upright, (0, 0, *upright.size), upright.size
    orientation = _orientation(image)
    upright = turn_upright(image)
    if orientation in _SIDEWAYS:
        whole, extent = whole[::-1], extent[::-1]
    left = upright.width - extent[0] if orientation in _RIGHT_TO_LEFT else 0
    top = upright.height - extent[1] if orientation in _UPSIDE_DOWN else 0
    return upright, (left, top, left + extent[0], top + extent[1]), whole


def _orientation(image: Image.Image) -> int:
    """How `turn_upright` will turn an image, as EXIF counts; 1 is not at all."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # damaged metadata: it will not be turned either
        return 1
