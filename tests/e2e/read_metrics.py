"""Reads a page of metrics from its input as Prometheus' own client does: families, as JSON. Anything odd is an error."""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

print(json.dumps([{'name': family.name, 'type': family.type, 'help': family.documentation,
                   'samples': [[s.name, s.labels, s.value] for s in family.samples]}
                  for family in text_string_to_metric_families(sys.stdin.read())]))
