#!/usr/bin/env python3
"""Compares decisions with the reference's, case by case.

    compare.py EXPECTED GOT        files of one result a line, .gz read as such; exit code 1 on any difference

Filter results must be equal in order, scores and totals to 1e-9, and the pick must be one of the best (of several picks, the
totals count). In an ambiguous case (a tie in an early stage of several) only the profiles that both sides ran are compared.
A configuration that the file leaves without profiles has its plugins in random order in the reference: compared by name.
"""
import collections
import gzip
import json
import sys

TOLERANCE = 1e-9


def load(path):
    opened = gzip.open(path, 'rt', encoding='utf-8') if path.endswith('.gz') else open(path, encoding='utf-8')
    with opened as f:
        return {r['id']: r for r in map(json.loads, f)}


def near(a, b):
    return abs(float(a) - float(b)) <= TOLERANCE


def near_maps(a, b):
    return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a)


def by_name(items):
    return sorted(items or [], key=lambda item: item['name'])


def profile_difference(want, got):
    """Where two runs of a profile differ, or None."""
    if [(f['name'], f['kept']) for f in by_name(want.get('filters'))] != \
            [(f['name'], f['kept']) for f in by_name(got.get('filters'))]:
        return 'filters'
    want_scorers, got_scorers = by_name(want.get('scorers')), by_name(got.get('scorers'))
    if [s['name'] for s in want_scorers] != [s['name'] for s in got_scorers]:
        return 'scorers'
    for a, b in zip(want_scorers, got_scorers):
        if not near_maps(a['scores'], b['scores']):
            return 'scorers.' + a['name']
    totals = want.get('totals') or {}
    if not near_maps(totals, got.get('totals') or {}):
        return 'totals'
    if want.get('best') != got.get('best'):
        return 'best'
    picks, others = want.get('picked') or [], got.get('picked') or []
    if len(picks) != len(others) or not all(near(totals[str(a)], totals[str(b)]) for a, b in zip(picks, others)):
        return 'picked'
    return None


def difference(want, got):
    """Where two results differ, or None."""
    for field in ('configError', 'error'):
        if bool(want.get(field)) != bool(got.get(field)):
            return field
    if want.get('configError'):
        return None
    for field in ('code', 'reason'):
        if want.get(field) != got.get(field):
            return field
    ambiguous = want.get('ambiguous')
    if not ambiguous and want.get('primary') != got.get('primary'):
        return 'primary'
    if not ambiguous and (want.get('headersAdded') or {}) != (got.get('headersAdded') or {}):
        return 'headersAdded'
    profiles, others = want.get('profiles') or {}, got.get('profiles') or {}
    if not ambiguous and profiles.keys() != others.keys():
        return 'profiles'
    for name in sorted(profiles.keys() & others.keys()):
        where = profile_difference(profiles[name], others[name])
        if where:
            return f'{name}.{where}'
    return None


def differences(want, got):
    """[(id, where)] over two loaded files."""
    found = []
    for number, result in want.items():
        where = difference(result, got[number]) if number in got else 'missing'
        if where:
            found.append((number, where))
    return found


def main(expected, answered):
    want, got = load(expected), load(answered)
    found = differences(want, got)
    print(f'{len(want)} cases, {len(found)} differ')
    for where, count in collections.Counter(where for _, where in found).most_common():
        print(f'  {count:5} {where} (first: case {next(n for n, w in found if w == where)})')
    return 1 if found else 0


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
