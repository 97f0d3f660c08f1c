"""Situations for the oracle program, built from little: configurations, endpoints, requests (README.md has the fields)."""
import json

API = 'llm-d.ai/v1alpha1'
TOPOLOGY = ('Hostname', 'Rack', 'Zone', 'Region')


def plugin(kind, name=None, **parameters):
    made = {'type': kind}
    if name:
        made['name'] = name
    if parameters:
        made['parameters'] = parameters
    return made


def profile(name, *uses):
    """uses: names, or (name, weight)."""
    return {'name': name, 'plugins': [{'pluginRef': u[0], 'weight': u[1]} if isinstance(u, tuple) else {'pluginRef': u}
                                      for u in uses]}


def config(plugins, profiles=None, **sections):
    """Text of a configuration; JSON is YAML too."""
    made = {'apiVersion': API, 'kind': 'EndpointPickerConfig', 'plugins': plugins}
    if profiles is not None:
        made['schedulingProfiles'] = profiles
    made.update(sections)
    return json.dumps(made)


def one_profile(*plugins):
    """The plugins in the one profile, with a picker; scorers weigh 1."""
    named = [dict(p, name=p.get('name', f'p{i}')) for i, p in enumerate(plugins)]
    uses = [p['name'] for p in named] + ['max-score-picker']
    return config(named + [plugin('max-score-picker')], [profile('default', *uses)])


def endpoint(number, **fields):
    made = {'name': f'pod-{number}', 'address': f'10.0.0.{number + 1}', 'port': '8000', 'waiting': 0, 'running': 0, 'kv': 0}
    made.update(fields)
    return made


def endpoints(rows):
    """One endpoint per dict of fields."""
    return [endpoint(i, **row) for i, row in enumerate(rows)]


def known(**fields):
    """The fields that are not None."""
    return {key: value for key, value in fields.items() if value is not None}


def places(values):
    """A topology out of [host, rack, zone, region]; None = no topology."""
    return known(topology=dict(zip(TOPOLOGY, (v or '' for v in values)))) if values else {}


def cached(match, total, block, unweighted=None):
    return {'prefix': known(match=match, total=total, block=block, cached=unweighted)}


def situation(text, rows, request=None, **more):
    """more: history, show, decisions, staleMs, refuseAlpha."""
    asked = {'model': 'base', 'headers': {}, 'tokens': 0}
    asked.update(request or {})
    return dict({'config': text, 'endpoints': endpoints(rows), 'request': asked}, **more)


def completions(prompt, tokens=None, **fields):
    """A request whose prompt the library reads and whose columns its own producers fill."""
    body = {'model': 'base', 'prompt': prompt}
    body.update(fields)
    return {'path': '/v1/completions', 'body': body, 'produce': True, 'tokens': tokens}
