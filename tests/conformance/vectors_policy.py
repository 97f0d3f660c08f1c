"""Tables of profiles, handlers, deciders, detectors, admission, metrics and the configuration itself."""
from situations import cached, config, one_profile, plugin, profile, situation
from vectors_base import Case, NotApplicable, expect_configs, expect_scores, kept_of, profile_of, with_parameters
from vectors_plugins import attribute_scorer, in_flight

TABLES = {}
FLOW = 'policies of the flow queue are a later part of the library'
SHEDDABLE = 3  # LLMD_REASON_SHEDDABLE


def table(*ids):
    def register(make):
        for name in ids:
            TABLES[name] = make
        return make
    return register


# ---- a profile's run ---------------------------------------------------------------------------------------------------

def weighted_values(pairs):
    """A scorer for each [raw score, weight]: raw scores within 0..1 come from an attribute, -0.5 from KV usage of 1.5, and
    the one score above 1 that any scorer can give, 1.01, from latency-scorer."""
    plugins, uses, row = [], [], {'scalars': {}, 'kv': 0}
    for i, (value, weight) in enumerate(pairs):
        name = f's{i}'
        if value < 0:
            plugins.append(plugin('kv-cache-utilization-scorer', name))
            row['kv'] = 1 - value
        elif value > 1:
            plugins.append(plugin('latency-scorer', name))
            row['latency'] = {'ttft': 1, 'ttftHeadroom': 1, 'tpotHeadroom': 1, 'dispatched': 1}
        else:
            plugins.append(attribute_scorer('linear_higher_is_better', (0, 1), attributeKey=name) | {'name': name})
            row['scalars'][name] = value
        uses.append((name, weight))
    text = config(plugins + [plugin('max-score-picker')], [profile('default', *uses, 'max-score-picker')])
    rows = [row]
    if 'latency' in row:  # two headrooms, so that the lower one takes all steps
        rows = [row, {'latency': {'ttft': 1, 'ttftHeadroom': 9, 'tpotHeadroom': 9, 'dispatched': 1}}]
    return situation(text, rows)


def total_is(pairs, want):
    def check(results):
        got = profile_of(results[0])['totals']['0']
        return None if abs(got - want) < 1e-9 else f'total {got}, expected {want}'
    return Case([weighted_values(pairs)], check)


@table('profile-run')
def profile_run(case, _):
    if 'winner_score' in case:
        return total_is(case['scorers'], case['winner_score'])
    if 'clamp' in case:
        parts = [total_is([[raw, 1]], want) for raw, want in case['clamp']]

        def check(results):
            return next(filter(None, (p.check([r]) for p, r in zip(parts, results))), None)
        return Case([p.situations[0] for p in parts], check)
    if 'filter_all' in case:
        text = one_profile(plugin('label-selector-filter', matchLabels={'none': 'has'}))
        return Case([situation(text, [{}])], lambda r: None if r[0].get('reason') == 'rejected-saturated' else str(r[0]))
    if 'add_plugins' in case:
        raise NotApplicable('a file gives every scorer the weight 1, and no call adds one without')
    return chain_of_filters()


def chain_of_filters():
    """Each filter sees what the one before it left; every scorer runs once, on the rest."""
    text = one_profile(plugin('label-selector-filter', matchLabels={'a': 'y'}),
                       plugin('label-selector-filter', matchLabels={'b': 'y'}), plugin('queue-scorer'))
    rows = [{'labels': {'a': a, 'b': b}} for a, b in ('yy', 'yn', 'ny', 'nn')]

    def check(results):
        got = [kept_of(results[0], i) for i in (0, 1)], [list(s['scores']) for s in profile_of(results[0])['scorers']]
        return None if got == ([[0, 1], [0]], [['0']]) else str(got)
    return Case([situation(text, rows)], check)


# ---- disaggregation ----------------------------------------------------------------------------------------------------

def staged(stages, order, prefix_decider=None, fail=()):
    """disagg-profile-handler with these stages ("EPD"); those in `fail` find no endpoint."""
    names = {'E': 'encode', 'P': 'prefill', 'D': 'decode'}
    plugins = [plugin('queue-scorer'), plugin('max-score-picker'),
               plugin('label-selector-filter', 'nobody', matchLabels={'none': 'has'}), plugin('always-disagg-multimodal-decider')]
    deciders = {}
    if 'E' in stages:
        deciders['encode'] = 'always-disagg-multimodal-decider'
    if 'P' in stages and order == 'decode-first':
        plugins.append(plugin('prefix-based-pd-decider', **(prefix_decider or {})))
        deciders['prefill'] = 'prefix-based-pd-decider'
    plugins.append(plugin('disagg-profile-handler', deciders=deciders, stageOrder=order))
    profiles = [profile(names[s], *(['nobody'] if names[s] in fail else []), 'queue-scorer', 'max-score-picker')
                for s in stages]
    return config(plugins, profiles)


@table('pd-decider')
def pd_decider(case, _):
    if 'config' in case or case.get('error'):
        parameters = case.get('config') or {'nonCachedTokens': case['nonCached'], 'promptTokens': case['promptTokens']}
        return expect_configs(refused=[staged('PD', 'decode-first', parameters)])
    if case.get('matchInfo', 0) == 'wrong type':
        raise NotApplicable('a column has one type')
    parameters = {'nonCachedTokens': case['nonCached'], 'promptTokens': case.get('promptTokens', 0)}
    row = {}
    if 'matchInfo' not in case:
        block = case.get('bs', 1)
        match = case.get('matchBlocks', case.get('cached', 0))
        row = cached(match, max(match, case['tokens'] // block), block, case.get('cachedBlockCount'))
    no_endpoint = 'endpoint' in case and case['endpoint'] is None
    text = staged('PD', 'decode-first', parameters, ['decode'] if no_endpoint else ())

    def check(results):
        ran = 'prefill' in results[0]['ran']
        return None if ran == case['out'] else f'prefill ran: {ran}'
    return Case([situation(text, [row], {'tokens': case['tokens']}, show=['decision'])], check)


MEDIA = {
    'image': {'type': 'image_url', 'image_url': {'url': 'http://media/1'}},
    'video': {'type': 'video_url', 'video_url': {'url': 'http://media/1'}},
    'audio': {'type': 'input_audio', 'input_audio': {'data': 'AAAA', 'format': 'wav'}},
}


def chat(medium):
    return {'body': {'model': 'base', 'messages': [{'role': 'user', 'content': [MEDIA[medium]] if medium else []}]}}


@table('disagg-handler')
def disagg(case, _):
    if 'process' in case or 'prerequest' in case:
        return disagg_result(case)
    results, want = case['results'], case['next']
    fail = [name for name, outcome in results.items() if outcome is None]
    if not results and case['order'] == 'decode-first':
        fail = ['decode']  # nothing follows a failed decode stage: so it was the first
    parameters = {'nonCachedTokens': case.get('nonCached', 1)}
    text = staged(case['stages'], case['order'], parameters, fail)
    tokens = case.get('tokens', 8)
    media = case.get('mm')
    media = [media] if media in (False, None) else ['image'] if media is True else media.split('|')
    row = cached(case.get('cached', 0), tokens, 1)
    situations = [situation(text, [row], dict(chat(m), tokens=tokens), show=['decision']) for m in media]

    def check(decided):
        for result in decided:
            ran = set(result['ran'])
            if not want and ran != set(results):
                return f'ran {ran}, expected {set(results)} alone'
            if not ran >= set(results) | set(want):
                return f'ran {ran}, expected {set(results) | set(want)} at least'
        return None
    return Case(situations, check)


def disagg_result(case):
    if '0 endpoints' in case.get('process', ''):
        raise NotApplicable('a run that picked nothing is a failed run')
    fail = ['encode'] if 'process' in case else ()
    text = staged('EPD', 'decode-first', {'nonCachedTokens': 1}, fail)
    want = {'x-prefiller-host-port': '10.0.0.1:8000', 'x-encoder-hosts-ports': '10.0.0.1:8000'}
    if fail:
        del want['x-encoder-hosts-ports']
    one = situation(text, [cached(0, 8, 1)], dict(chat('image'), tokens=8), show=['decision'])

    def check(results):
        got = results[0].get('headersAdded'), 'encode' in results[0]['profiles']
        return None if got == (want, not fail) else str(results[0])
    return Case([one], check)


# ---- saturation --------------------------------------------------------------------------------------------------------
# A detector's number shows in admission: a sheddable request is refused from 1 on. Loads are scaled so that the saturation a case
# expects becomes 1, once from just above and once from just below.

def shed(result):
    return result['reasonNumber'] == SHEDDABLE


def expect_saturation(text, rows, scale, want, stale=0, **more):
    """scale(row, factor): the row under so much more load. stale: rows that count as 1 whatever their load."""
    request = {'priority': -1}

    def asked(factor):
        return situation(text, [scale(row, factor) for row in rows], request, show=['decision'], **more)
    fresh = want * len(rows) - stale
    if not rows or fresh <= 1e-12:  # nothing to scale: at or above 1, or below it
        return Case([asked(1)], lambda r: None if shed(r[0]) == (want >= 1) else f'shed: {shed(r[0])}')
    if stale == 0:
        edge = 1 / want
    else:
        edge = (len(rows) - stale) / fresh
    factors = [edge * (1 + 1e-6), edge * (1 - 1e-6)]

    def check(results):
        got = [shed(r) for r in results]
        return None if got == [True, False] else f'shed just above and below: {got}'
    return Case([asked(f) for f in factors], check)


def utilized(row, factor=1):
    if row == 'nil metrics':
        return {'silent': True, 'waiting': None, 'running': None, 'kv': None}
    waiting, kv, age = row
    return {'waiting': waiting * factor, 'kv': kv * factor, 'ageMs': age}


def with_detector(detector):
    return config([detector, plugin('max-score-picker')], [profile('default', 'max-score-picker')],
                  flowControl={'saturationDetector': {'pluginRef': detector['type']}})


def is_stale(row, threshold):
    return row == 'nil metrics' or row[2] > threshold


@table('util-detector')
def util_detector(case, tab):
    text = with_detector(plugin('utilization-detector', **tab['config']))
    stale = sum(is_stale(row, 100) for row in case['eps'])
    return expect_saturation(text, case['eps'], utilized, case['sat'], stale, staleMs=100)


@table('util-detector-filter')
def util_filter(case, tab):
    one = situation(one_profile(plugin('utilization-detector', **tab['config'])), [utilized(r) for r in case['eps']],
                    staleMs=100)
    return Case([one], lambda r: None if len(kept_of(r[0])) == case['kept'] else f'kept {kept_of(r[0])}')


@table('util-detector-config')
def util_config(case, _):
    text = with_parameters('utilization-detector', case['params'])
    return expect_configs([text]) if case['ok'] else expect_configs(refused=[text])


def concurrency(case):
    names = {'mode': 'concurrencyMode', 'max': 'maxConcurrency', 'maxTokens': 'maxTokenConcurrency', 'headroom': 'headroom'}
    return plugin('concurrency-detector', **{names[k]: v for k, v in case.items() if k in names})


def loads(case):
    """[(requests, tokens)]"""
    if 'load' in case:
        return case['load'] if not case['load'] or isinstance(case['load'][0], list) else [case['load']]
    values = case.get('reqs', case.get('tokens'))
    values = values if isinstance(values, list) else [values]
    return [(v, 0) if 'reqs' in case else (0, v) for v in values]


@table('conc-detector')
def conc_detector(case, _):
    if 'nil endpoint' in str(case.get('reqs')):
        raise NotApplicable('a row of the pool is never nil')
    return expect_saturation(with_detector(concurrency(case)), loads(case),
                             lambda load, factor: in_flight(load[0] * factor, load[1] * factor), case['sat'])


@table('conc-detector-filter')
def conc_filter(case, _):
    rows = [in_flight(*load) for load in loads(case)]
    return expect_conc_kept(one_profile(concurrency(case)), rows, case['kept'])


def expect_conc_kept(text, rows, want):
    return Case([situation(text, rows)], lambda r: None if len(kept_of(r[0])) == want else f'kept {kept_of(r[0])}')


@table('conc-detector-config')
def conc_config(case, _):
    text = with_parameters('concurrency-detector', case['params'])
    return expect_configs([text]) if case['ok'] else expect_configs(refused=[text])


# ---- flow, admission, errors -------------------------------------------------------------------------------------------

@table('holdback')
def holdback(case, _):
    if 'config_invalid' not in case:
        raise NotApplicable(FLOW)
    kind = 'priority-holdback-policy'
    return expect_configs([with_parameters(kind, p) for p in case['config_valid']],
                          [with_parameters(kind, p) for p in case['config_invalid']])


@table('soft-reflective', 'probabilistic-admitter')
def later(case, tab):
    raise NotApplicable(FLOW if tab['id'] == 'soft-reflective' else 'admitters are a later part of the library')


@table('admission')
def admission(case, _):
    if not case.get('legacy'):
        raise NotApplicable(FLOW)
    text = with_detector(plugin('utilization-detector'))
    row = {'waiting': 50}
    one = situation(text, [row], {'priority': 0 if case['prio'] == '>=0' else -1}, show=['decision'])
    return Case([one], lambda r: None if shed(r[0]) == ('code' in case) and r[0]['http'] == (429 if shed(r[0]) else 200)
                else str(r[0]))


@table('errors')
def errors(case, _):
    nobody = one_profile(plugin('label-selector-filter', matchLabels={'none': 'has'}))
    made = {
        'ResourceExhausted': situation(nobody, [{}], show=['decision']),
        'ServiceUnavailable': situation(nobody, [], show=['decision']),
        'PreconditionFailed': situation(one_profile(plugin('prefix-cache-scorer')), [{}],
                                        {'headers': {'prefer': 'if-available'}}, show=['decision']),
    }
    if case.get('code') not in made:
        raise NotApplicable('no decision ends so: authentication, routes and message texts are the host\'s')
    return Case([made[case['code']]], lambda r: None if r[0]['http'] == case['http'] else str(r[0]))


# ---- metrics -----------------------------------------------------------------------------------------------------------

def lora_page(series):
    lines = ['# TYPE vllm:lora_requests_info gauge']
    for labels, value in series:
        text = ','.join(f'{k}="{v}"' for k, v in dict({'waiting_lora_adapters': ''}, **labels).items())
        lines.append(f'vllm:lora_requests_info{{{text}}} {value}')
    return '\n'.join(lines) + '\n'


def lora_scores(page, want):
    """want: {model: score of lora-affinity-scorer}."""
    text = one_profile(plugin('lora-affinity-scorer'))
    row = {'waiting': None, 'running': None, 'kv': None, 'page': page}

    def check(results):
        got = {m: profile_of(r)['scorers'][0]['scores']['0'] for m, r in zip(want, results)}
        return None if got == want else f'scores {got}'
    return Case([situation(text, [row], {'model': m}) for m in want], check)


@table('metric-spec')
def metric_spec(case, _):
    if 'in' in case:
        engine = {'name': 'vllm', 'queuedRequestsSpec': case['in']}
        text = with_parameters('core-metrics-extractor', {'engineConfigs': [engine]})
        return expect_configs(refused=[text]) if case.get('error') else expect_configs([text])
    if 'series' in case:
        raise NotApplicable('a page without the family leaves the value unknown, which is no error: tests/unit/model')
    if case['lora'] == 'family absent':
        return lora_scores('vllm:num_requests_running 1\n', {'lora1': 0})
    # The newest series counts: its adapter is active, and there is room for another (fewer than max_lora).
    return lora_scores(lora_page(case['lora']), {'lora1': 1, 'lora2': 0.8, 'lora3': 0.8})


@table('kvblock-scorer')
def kvblock(case, _):
    """Keys become blocks of sixteen equal ids. What the reference's producer publishes is the score's whole part."""
    weights = [{'name': name, 'weight': weight} for name, weight in case['weights'].items()]
    producer = plugin('precise-prefix-cache-producer', indexerConfig={'kvCacheBackendConfigs': weights})
    scorer = plugin('prefix-cache-scorer', prefixMatchInfoProducerName='precise-prefix-cache-producer')
    text = config([producer, scorer, plugin('max-score-picker')],
                  [profile('default', 'prefix-cache-scorer')])
    rows = [{'holds': [[tier for pod, tier in case['hits'].get(str(key), []) if pod == name] for key in case['keys']]}
            for name in case['scores']]
    ids = [key for key in case['keys'] for _ in range(16)]
    want = [int(score) / len(case['keys']) for score in case['scores'].values()]
    return expect_scores(text, rows, want, request={'ids': ids, 'produce': True})


# ---- the configuration -------------------------------------------------------------------------------------------------

PICKER = plugin('max-score-picker')
QUEUE = plugin('queue-scorer')
PROFILE = profile('default', 'queue-scorer')
HANDLERS = [plugin('single-profile-handler'), plugin('header-profile-handler')]

ERRORS = {
    'invalid YAML': 'plugins: [',
    'unknown feature gate': config([QUEUE], [PROFILE], featureGates=['nonesuch']),
    'malformed feature gate': config([QUEUE], [PROFILE], featureGates=['flowControl=perhaps']),
    'plugin without type': config([{'name': 'x'}, QUEUE], [PROFILE]),
    'unknown plugin type': config([plugin('nonesuch'), QUEUE], [PROFILE]),
    'invalid plugin JSON parameters': config([plugin('load-aware-scorer', threshold='many'), QUEUE], [PROFILE]),
    'duplicate plugin name': config([QUEUE, QUEUE], [PROFILE]),
    'profile without name': config([QUEUE], [{'plugins': [{'pluginRef': 'queue-scorer'}]}]),
    'empty pluginRef': config([QUEUE], [profile('default', '')]),
    'undefined pluginRef in profile': config([QUEUE], [profile('default', 'other')]),
    'duplicate profile name': config([QUEUE], [PROFILE, PROFILE]),
    'two pickers in one profile': config([PICKER, plugin('random-picker')],
                                         [profile('default', 'max-score-picker', 'random-picker')]),
    'two profile handlers': config([QUEUE] + HANDLERS, [PROFILE]),
    'no profile handler with several profiles': config([QUEUE], [PROFILE, profile('two', 'queue-scorer')]),
    'several profiles with single-profile-handler': config([QUEUE, HANDLERS[0]], [PROFILE, profile('two', 'queue-scorer')]),
    'dataLayer bad source ref': config([QUEUE], [PROFILE], dataLayer={'sources': [{'pluginRef': 'other'}]}),
    'dataLayer bad extractor ref': config(
        [QUEUE, plugin('metrics-data-source')], [PROFILE],
        dataLayer={'sources': [{'pluginRef': 'metrics-data-source', 'extractors': [{'pluginRef': 'other'}]}]}),
    'flowControl missing policy plugin': config([QUEUE], [PROFILE], featureGates=['flowControl'],
                                                flowControl={'usageLimitPolicyPluginRef': 'other'}),
    'flowControl wrong plugin kind': config([QUEUE], [PROFILE], featureGates=['flowControl'],
                                            flowControl={'usageLimitPolicyPluginRef': 'queue-scorer'}),
    'parser wrong kind': config([QUEUE], [PROFILE], requestHandler={'parsers': [{'pluginRef': 'queue-scorer'}]}),
    'parser undefined': config([QUEUE], [PROFILE], requestHandler={'parsers': [{'pluginRef': 'other'}]}),
    'dependency cycle between plugins': config(
        [QUEUE, plugin('disagg-profile-handler', 'x', deciders={'prefill': 'x'})], [PROFILE]),
}


def rule(text, *lines, absent=()):
    """Accepted, with these lines in the effective configuration."""
    one = situation(text, [{}], show=['config'])

    def check(results):
        got = results[0].get('config', results[0].get('configError'))
        missing = [line for line in lines if line not in got] + ['not ' + line for line in absent if line in got]
        return f'{missing} in {got}' if missing else None
    return Case([one], check)


@table('config-loader')
def loader(case, _):
    name = case.get('case', '')
    if 'error' in case:
        alpha = situation(config([plugin('header-label-affinity-scorer', headerName='a', labelKey='b')]), [{}],
                          refuseAlpha=True)
        texts = [ERRORS[e] for e in case['error'] if not e.startswith('alpha')]
        made = expect_configs(refused=texts)
        return Case(made.situations + [alpha],
                    lambda r: made.check(r[:-1]) or (None if r[-1].get('configError') else 'alpha accepted'))
    if name.startswith('no scorer weight'):
        return rule(config([QUEUE], [PROFILE]), 'weight: 1\n')
    if name.startswith('no profile handler'):
        return rule(config([QUEUE], [PROFILE]), 'type: single-profile-handler # added by default')
    if name == 'no profiles':
        return rule(config([plugin('decode-filter'), QUEUE, plugin('random-picker')]),
                    '- name: "default"\n', '- pluginRef: "decode-filter"', '- pluginRef: "queue-scorer"',
                    '- pluginRef: "random-picker"', absent=['max-score-picker'])
    if name.startswith('flowControl section'):
        return rule(config([QUEUE, plugin('concurrency-detector')], [PROFILE],
                           flowControl={'defaultRequestTTL': '1s', 'saturationDetector': {'pluginRef': 'concurrency-detector'}}),
                    'saturationDetector:\n  pluginRef: "concurrency-detector"')
    raise NotApplicable('sources and queues belong to the host or to a later part of the library')
