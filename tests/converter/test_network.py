import pytest

from converter.network import INPUT_PX, NANO_A, NANO_B, NETWORKS, Network, build, count_macs, count_parameters

# Reference form: biases, no batch norm, seven classes.
PARAMETERS = {"nano_a": 231_992, "nano_b": 141_098}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_parameters_are_those_of_the_reference_form(network: Network) -> None:
    assert count_parameters(network, classes=7) == PARAMETERS[network.name]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_keras_builds_as_many_parameters_as_are_counted(network: Network) -> None:
    model = build(network, 7, batch_norm=False)
    assert model.count_params() == PARAMETERS[network.name]
    assert model.input_shape == (None, INPUT_PX, INPUT_PX, 1)
    assert model.output_shape == (None, 7)


def test_multiply_accumulates() -> None:
    assert round(count_macs(NANO_B, 7) / 1e6, 1) == 44.2
    assert round(count_macs(NANO_A, 7) / 1e6, 1) == 72.8


def test_layer_table() -> None:
    assert len(NANO_B.convs) == 21
    assert [conv.name for conv in NANO_B.convs if conv.pointwise] == ["P1", "P2"]
    assert [conv.name for conv in NANO_B.convs if conv.stride == 2] == ["L8", "P1", "L14", "P2"]
    assert [conv.channels for conv in NANO_B.convs if not conv.pointwise] == [
        *(11, 9, 11, 8, 11, 7, 11, 27, 27, 19, 27, 26, 27, 36, 64, 39, 64, 24, 64),
    ]
    assert [conv.channels for conv in NANO_A.convs if not conv.pointwise] == [
        *(14, 12, 14, 10, 14, 9, 14, 35, 35, 24, 35, 33, 35, 46, 82, 50, 82, 31, 82),
    ]
    assert [conv.channels for conv in NANO_A.convs if conv.pointwise] == [35, 82]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_added_tensors_have_the_same_channels_and_size(network: Network) -> None:
    shape = {"image": (1, INPUT_PX)}
    for conv in network.convs:
        assert len({shape[name] for name in conv.inputs}) == 1, conv.name
        shape[conv.name] = (conv.channels, shape[conv.inputs[0]][1] // conv.stride)
    assert len({shape[name] for name in network.head}) == 1
