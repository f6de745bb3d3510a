"""The texts of a model card: what the network is, what it learnt from, what it is for and what it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.recipe import ConversionRecipe
    from edge_fer.classify import NetworkName

SIZES: dict[NetworkName, str] = {
    "nano_a": (
        "Nano-A is our own reconstruction: the wiring of Nano-B with every width scaled by 1.28, which meets the "
        "published size of 232K parameters (231,992 with 7 classes); its true widths are not public."
    ),
    "nano_b": (
        "Nano-B: 141.1K parameters reconstructed, 136K published (with 7 classes); its layer table was reconstructed "
        "from public re-implementations of the paper's figure."
    ),
}

FOREIGN = "An image classifier converted from {file}."

UNRECORDED = "The network of {file}; nothing is recorded about how it was trained."

NUMBERS = {
    ("float32", "float32"): "Weights and arithmetic in float32.",
    ("float16", "float32"): "Weights in float16, arithmetic in float32.",
    ("int8", "int8"): "Weights (per channel) and arithmetic in int8.",
    ("int8", "float32"): "Weights in int8 (per channel), activations quantised as they come.",
}
"""By weights and arithmetic."""

UNKNOWN_DATA = "Not recorded: ask whoever trained it, and under which terms."

TRAINING_DATA = (
    "FER2013 photos of faces (found by a web image search for a contest at ICML 2013; 48x48 px, grey) with the ten "
    "annotators' votes per image of FER+ as soft labels. Left out of training: images that are pixel for pixel in the "
    "test or validation set, images whose majority is unknown or no face, and single votes. Terms: the labels are "
    "under the MIT licence; the images have no authoritative licence and are not distributed with edge-fer. "
    "Credit: Goodfellow et al. 2013 (FER2013), Barsoum et al. 2016 (FER+)."
)

METRICS = (
    " Metrics are of this very file on the images of {validation}, at each operating point: of those with a clear "
    "majority of votes (more than five of ten), and, under 'all', of every one."
)

INTENDED_USE = (
    "Safety and assistive-living dashboards: facial expressions, on the device itself, of people who were told of it. "
    "The input is one upright face, framed as edge-fer's align.py does."
)

LIMITS = (
    "Reads what a face shows, not what a person feels; it is not a diagnosis and no ground for a decision about a "
    "person. Trained on images of the web, which are biased in age, skin tone, culture and pose, with acted and "
    "exaggerated expressions, labelled by crowd workers who often disagree. Contempt, disgust and fear were rare in "
    "training and are read least well: see the recall of each expression. Small faces, and faces in profile, covered "
    "or badly lit, are read less well than the figures say. EU AI Act, article 5(1)(f): do not use it to read emotions "
    "of people at work or in education, except for medical or safety reasons."
)

UNKNOWN_LIMITS = (
    "Reads what a face shows, not what a person feels; it is not a diagnosis and no ground for a decision about a "
    "person. How well it reads whom was not measured beyond the metrics of this card."
)

CREDITS = (
    "Network: J. R. Lee, L. Wang, A. Wong, 'EmotionNet Nano', Frontiers in AI 3, 2021, doi 10.3389/frai.2020.609673. "
    "Images: I. Goodfellow et al., 'Challenges in Representation Learning', 2013. Labels: E. Barsoum et al., 'Training "
    "Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution', 2016."
)


def write_card_text(
    network: NetworkName | None, recipe: ConversionRecipe, file: str, *, recorded: bool, validation: str | None
) -> dict[str, Any]:
    """The texts of a ModelCard that follow from what was converted and how.

    Only of weights whose training is `recorded` is it known what they learnt from; `validation` names the file that
    the metrics are of.
    """
    if network and recorded:
        what = f"EmotionNet Nano, eight expressions. {SIZES[network]}"
    else:
        what = UNRECORDED.format(file=file) + f" {SIZES[network]}" if network else FOREIGN.format(file=file)
    known = recorded and network
    measured = METRICS.format(validation=validation) if validation else " Nothing was measured."
    return {
        "description": (
            f"{what} {NUMBERS[recipe.weights, recipe.arithmetic]} Input and output in {recipe.input_output}."
        ),
        "training_data": (TRAINING_DATA if known else UNKNOWN_DATA) + measured,
        "intended_use": INTENDED_USE,
        "limits": LIMITS if known else UNKNOWN_LIMITS,
        "credits": CREDITS if known else UNKNOWN_DATA,
    }
