"""What Prometheus gets, held against a catalogue."""

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from service.adapters.telemetry.catalogue import Metric


def assert_catalogued(text: str, catalogue: Iterable[Metric]) -> None:
    """Every metric of the catalogue is there with its meaning and exactly its labels, and no other.

    No label has a value that the catalogue does not name, where it names any.
    """
    families = {
        family.name: family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("asset_sync_")
    }
    known = {metric.full_name.removesuffix("_total"): metric for metric in catalogue}
    assert families.keys() == known.keys()
    for name, family in families.items():
        metric = known[name]
        assert family.documentation == metric.meaning
        for sample in family.samples:
            labels = {label: value for label, value in sample.labels.items() if label != "le"}
            if not sample.name.endswith("_created"):
                assert labels.keys() == metric.labels.keys(), sample
            for label, value in labels.items():
                assert not metric.labels[label] or value in metric.labels[label], sample
