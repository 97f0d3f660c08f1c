"""Tables of scorers, filters, pickers and producers."""
from situations import cached, completions, config, known, one_profile, places, plugin, profile, situation
from vectors_base import Case, NotApplicable, expect_configs, expect_kept, expect_scores, scores_of, with_parameters

TABLES = {}
HASHES = 'a property of the hash function: conformance/hashes'


def table(*ids):
    def register(make):
        for name in ids:
            TABLES[name] = make
        return make
    return register


# ---- scorers -----------------------------------------------------------------------------------------------------------

@table('queue')
def queue(case, _):
    return expect_scores(one_profile(plugin('queue-scorer')), [{'waiting': w} for w in case['waiting']], case['scores'])


@table('kv')
def kv(case, _):
    return expect_scores(one_profile(plugin('kv-cache-utilization-scorer')), [{'kv': v} for v in case['kv']], case['scores'])


@table('running')
def running(case, _):
    return expect_scores(one_profile(plugin('running-requests-size-scorer')), [{'running': n} for n in case['running']],
                         case['scores'])


def scalars(name, values):
    return [{'scalars': known(**{name: v})} for v in values]


@table('mc-queue')
def clusters_queue(case, _):
    return expect_scores(one_profile(plugin('multicluster-queue-scorer')),
                         scalars('llm-d.ai/multicluster-queue-size', case['queues']), case['scores'])


@table('mc-kv')
def clusters_kv(case, _):
    return expect_scores(one_profile(plugin('multicluster-kv-cache-utilization-scorer')),
                         scalars('llm-d.ai/multicluster-kv-cache-utilization', case['kv']), case['scores'])


def nothing_to_score(text):
    """Without endpoints no scorer runs: there is nothing that could have a score."""
    return Case([situation(text, [], show=['decision'])],
                lambda r: None if r[0].get('error') and not r[0].get('profiles') and r[0]['http'] == 503 else str(r[0]))


@table('lora')
def lora(case, _):
    if case['eps']:
        raise NotApplicable('only the empty case is known')
    return nothing_to_score(one_profile(plugin('lora-affinity-scorer')))


def match_rows(values):
    return [cached(*v) if v else {} for v in values]


@table('prefix-scorer')
def prefix(case, _):
    return expect_scores(one_profile(plugin('prefix-cache-scorer', **case['params'])), match_rows(case['match_total_bs']),
                         case['scores'], case.get('tol', 1e-4))


@table('prefix-scorer-config')
def prefix_config(case, _):
    text = with_parameters('prefix-cache-scorer', case['params'])
    if not case['ok']:
        return expect_configs(refused=[text])
    return expect_configs(accepted=[text], effective=[f'{k}: {v:g}' for k, v in case.get('effective', {}).items()])


@table('no-hit-lru')
def no_hit_lru(case, _):
    text = one_profile(plugin('no-hit-lru-scorer'))
    if 'pd' in case:
        return no_hit_lru_pd()
    if 'sequence' in case:
        return no_hit_lru_sequence(text, case)
    if not case['warm']:
        return nothing_to_score(text)
    return expect_scores(text, [cached(1, 2, 64) if w else {} for w in case['warm']], case['scores'])


def no_hit_lru_sequence(text, case):
    """Endpoints A, B, C. What a cold request would see after each step."""
    steps = [{'ep': 0}, None, {'ep': 1, 'endpoints': [{}, cached(1, 2, 64), {}]}, {'ep': 1}, {'ep': 2}]
    names = ['pod-a', 'pod-b', 'pod-c']
    situations = [situation(text, [{}] * 3, history=[s for s in steps[:n + 1] if s]) for n in range(len(steps))]

    def check(results):
        scores = [scores_of(r) for r in results]
        first = scores[1]
        if abs(first['1'] - case['after_first']['pod-b']) > 1e-9 or abs(first['2'] - case['after_first']['pod-c']) > 1e-9 \
                or not first['0'] < first['1']:
            return f'after the first: {first}'
        top = [names[max(range(3), key=lambda i, s=s: s[str(i)])] for s in scores]
        return None if top == case['top_after'] else f'on top: {top}'
    return Case(situations, check)


def disaggregated(*scorers):
    """decode and prefill, always both, each with these scorers."""
    named = [dict(p, name=f's{i}') for i, p in enumerate(scorers)]
    uses = [p['name'] for p in named] + ['max-score-picker']
    return config(named + [plugin('max-score-picker'), plugin('always-disagg-pd-decider'),
                           plugin('disagg-profile-handler', deciders={'prefill': 'always-disagg-pd-decider'})],
                  [profile('decode', *uses), profile('prefill', *uses)])


def no_hit_lru_pd():
    """decode-a, prefill-a, decode-b, prefill-b: the first two were used."""
    one = situation(disaggregated(plugin('no-hit-lru-scorer')), [{}] * 4, history=[{'ep': 0, 'prefill': 1}])

    def check(results):
        s = scores_of(results[0], name='decode')
        return None if s['3'] > s['1'] and s['2'] > s['0'] else f'scores {s}'
    return Case([one], check)


def in_flight(requests=None, tokens=None):
    return {} if requests is None and tokens is None else {'inflight': {'requests': requests or 0, 'tokens': tokens or 0}}


@table('active-request')
def active_request(case, _):
    text = one_profile(plugin('active-request-scorer', **case['params']))
    if 'requests' not in case:
        return expect_configs(accepted=[text])
    return expect_scores(text, [in_flight(requests=n) for n in case['requests']], case['scores'], case.get('tol', 1e-4))


@table('token-load')
def token_load(case, _):
    rows = [dict(in_flight(tokens=t), **known(uncached=u)) for t, u in zip(case['inflight'], case['uncached'])]
    return expect_scores(one_profile(plugin('token-load-scorer', queueThresholdTokens=case['threshold'])), rows,
                         case['scores'])


@table('load-aware')
def load_aware(case, _):
    return expect_scores(one_profile(plugin('load-aware-scorer', threshold=case['threshold'])),
                         [{'waiting': w} for w in case['waiting']], case['scores'])


RANGE_LABEL = 'llm-d.ai/context-length-range'


def ranges(values):
    return [{'labels': {RANGE_LABEL: v}} if v is not None else {} for v in values]


def holds(properties, scores):
    """properties like "0<s2<0.3"; a leading "s3==0.5" means equal to 1e-9."""
    names = {f's{i}': s for i, s in scores.items()}
    for text in properties:
        good = eval(text, {'__builtins__': {}}, names)  # the tables are ours
        if not good:
            return f'{text} does not hold: {names}'
    return None


@table('context-length')
def context_length(case, _):
    text = one_profile(plugin('context-length-aware'))
    if case.get('filter'):
        return expect_kept(one_profile(plugin('context-length-aware', enableFiltering=True)), ranges(case['ranges']),
                           case['kept'], {'tokens': case['tokens']})
    if 'parse' in case:
        return context_length_parse(text, case)
    case = case.get('fallback', case) | {'properties': case['properties']}
    return Case([situation(text, ranges(case['ranges']), {'tokens': case['tokens']})],
                lambda r: holds(case['properties'], scores_of(r[0])))


def context_length_parse(text, case):
    """What was read shows in the scores: 0 = not readable; inside a range at least 0.3, outside less."""
    low, high = case.get('range', (0, 0))
    tokens = [low, high, high + 1]
    want = [True, True, False]

    def check(results):
        scores = [scores_of(r)['0'] for r in results]
        if case.get('ok') is False:
            return None if not any(scores) else f'read: {scores}'
        return None if [s >= 0.3 for s in scores] == want else f'scores {scores} for {tokens}'
    return Case([situation(text, ranges([case['parse']]), {'tokens': t}) for t in tokens], check)


def attribute_scorer(kind='linear_lower_is_better', fixed=None, adaptive=False, **parameters):
    normal = {}
    if fixed:
        normal['fixedRange'] = {'min': fixed[0], 'max': fixed[1]}
    if adaptive:
        normal['adaptiveRange'] = {}
    algorithm = {'type': kind} if kind else {}
    if normal:
        algorithm['normalization'] = normal
    return plugin('endpoint-attribute-scorer', algorithm=algorithm, **parameters)


@table('endpoint-attribute-scorer')
def attribute(case, _):
    if 'values' in case:
        return expect_scores(one_profile(attribute_scorer(case['type'], case.get('fixedRange'), attributeKey='m1')),
                             scalars('m1', case['values']), case['scores'])
    wrong = {
        'both fixedRange and adaptiveRange': attribute_scorer(fixed=(0, 1), adaptive=True, attributeKey='m1'),
        'fixedRange min>=max': attribute_scorer(fixed=(1, 1), attributeKey='m1'),
        'missing attributeKey': attribute_scorer(),
        'missing/unknown algorithm.type': attribute_scorer('squared', attributeKey='m1'),
    }
    if isinstance(case['config'], dict):
        wrong_one = attribute_scorer(**case['config'])
    else:
        wrong_one = wrong[case['config']]
    more = [one_profile(attribute_scorer(None, attributeKey='m1'))] if 'algorithm.type' in str(case['config']) else []
    return expect_configs(refused=[one_profile(wrong_one)] + more)


@table('topology-scorer')
def topology(case, _):
    peer = {'peer': dict({'name': 'peer', 'address': '10.9.9.9', 'port': '8000'}, **places(case['peer']))} \
        if case['peer'] else {}
    return expect_scores(one_profile(plugin('topology-affinity-scorer')), [places(e) for e in case['eps']], case['scores'],
                         request=peer)


# ---- filters -----------------------------------------------------------------------------------------------------------

FIELDS = {'running-requests': 'running', 'waiting-queue': 'waiting', 'kv-cache-utilization': 'kv'}


def loaded(metrics, values):
    row = {}
    for metric, value in zip(metrics, values):
        row.update(in_flight(requests=value) if metric == 'active-requests' else known(**{FIELDS[metric]: value}))
    return row


@table('utilization-filter')
def utilization(case, _):
    if 'config_invalid' in case:
        wrong = {
            'no conditions': {'conditions': []}, 'missing metric': {'conditions': [{'maxValue': 1}]},
            'unknown metric': {'conditions': [{'metric': 'heat', 'maxValue': 1}]},
            'missing maxValue': {'conditions': [{'metric': 'waiting-queue'}]},
            'negative maxValue': {'conditions': [{'metric': 'waiting-queue', 'maxValue': -1}]},
            'kv maxValue > 1': {'conditions': [{'metric': 'kv-cache-utilization', 'maxValue': 1.1}]},
            'nil parameters': None,
        }
        return expect_configs(refused=[with_parameters('utilization-filter', wrong[name]) for name in case['config_invalid']])
    parameters = {'conditions': [{'metric': m, 'maxValue': v} for m, v in case['cond']]}
    if case.get('fallbackOnEmpty'):
        parameters['fallbackOnEmpty'] = True
    metrics = [m for m, _ in case['cond']]
    rows = [loaded(metrics, v if isinstance(v, list) else [v]) for v in case['values']]
    return expect_kept(one_profile(plugin('utilization-filter', **parameters)), rows, case['kept'])


@table('endpoint-attribute-filter')
def attribute_filter(case, _):
    parameters = {'attribute': 'm1',
                  'algorithm': {'type': 'threshold', 'threshold': {'operator': case['op'], 'value': case['value']}}}
    parameters.update({k: case[k] for k in ('onMissing', 'fallbackOnEmpty') if k in case})
    return expect_kept(one_profile(plugin('endpoint-attribute-filter', **parameters)), scalars('m1', case['values']),
                       case['kept'])


@table('prefix-affinity-filter')
def prefix_affinity(case, _):
    kind = 'prefix-cache-affinity-filter'
    if 'config_invalid' in case:
        return expect_configs(refused=[with_parameters(kind, p) for p in case['config_invalid']])
    rows = [dict(cached(match, 100, 16), **in_flight(tokens=tokens), latency={'ttft': ttft})
            for match, ttft, tokens in case['eps']]
    return expect_kept(one_profile(plugin(kind, **case['cfg'])), rows, case['kept'])


@table('role-filters')
def roles(case, tab):
    rows = [{} if r is None else {'labels': {} if r == '(empty labels)' else {tab['label']: r}} for r in case['roles']]
    want = [i for i, r in enumerate(case['roles']) if r in case['kept']]
    return expect_kept(one_profile(plugin(case['filter'])), rows, want)


# ---- pickers -----------------------------------------------------------------------------------------------------------

def totals(kind, most, values, **more):
    """Endpoints whose totals are these values (0..100)."""
    text = config([attribute_scorer('linear_higher_is_better', (0, 100), attributeKey='m1') | {'name': 'value'},
                   plugin(kind, maxNumOfEndpoints=most)], [profile('default', ('value', 100), kind)])
    return situation(text, scalars('m1', values), **more)


@table('max-score-picker')
def max_score(case, _):
    names = list(case['scores'])

    def check(results):
        picked = [names[i] for i in results[0]['profiles']['default']['picked']]
        if 'picked' in case:
            return None if picked == case['picked'] else f'picked {picked}'
        return None if set(picked[:2]) == set(case['picked_set_first2']) else f'picked {picked}'
    return Case([totals('max-score-picker', case['max'], list(case['scores'].values()))], check)


def shares(counts, n, want, tolerance):
    got = [c / n for c in counts]
    return None if all(abs(g - w) <= tolerance for g, w in zip(got, want)) else f'shares {got}, expected {want}'


@table('random-picker')
def random_picker(case, tab):
    n = tab['iterations']

    def check(results):
        if len(results[0]['profiles']['default']['picked']) != case['count']:
            return f'picked {results[0]["profiles"]["default"]["picked"]}'
        return shares(results[0]['any'], n, [case['p_each']] * case['n'], tab['tol'])
    return Case([totals('random-picker', case['max'], [50] * case['n'], decisions=n)], check)


@table('weighted-random-picker')
def weighted(case, tab):
    n = tab['iterations']
    return Case([totals('weighted-random-picker', case['max'], case['scores'], decisions=n)],
                lambda r: shares(r[0]['first'], n, case['p_first'], tab['tol']))


# ---- approximate prefixes ----------------------------------------------------------------------------------------------
# The reference's tables use blocks of 1 to 4 tokens, which its tests allow and nobody else can: the smallest block is 64. So
# each token of a case stands for as many tokens as make its blocks 64 long.

SHOWN = {'match': 'PrefixCacheMatchInfo.match', 'total': 'PrefixCacheMatchInfo.total', 'block': 'PrefixCacheMatchInfo.block'}


def grown(prompts, block=1):
    return [[token for token in prompt for _ in range(64 // block)] for prompt in prompts]


def approximate(**parameters):
    parameters = dict({'autoTune': False, 'blockSizeTokens': 64}, **parameters)
    return one_profile(plugin('approx-prefix-cache-producer', **parameters) | {'name': 'approx-prefix-cache-producer'},
                       plugin('prefix-cache-scorer'))


def column(result, name):
    return result['producers'].get(SHOWN[name], {})


def expect_match(text, prompts, rows, want, **more):
    """want: {endpoint: {"match": n, "total": n, "block": n}}."""
    one = situation(text, rows, completions(prompts), show=['producers'], **more)

    def check(results):
        for i, columns in want.items():
            for name, value in columns.items():
                if column(results[0], name).get(str(i)) != value:
                    return f'endpoint {i}: {name} is {column(results[0], name).get(str(i))}, expected {value}'
        return None
    return Case([one], check)


def went(prompts, to, **more):
    return dict(completions(prompts), ep=to, **more)


@table('approx-prefix')
def approx(case, _):
    name = case.get('name', '')
    if 'params' in case:
        return approx_config(case)
    if name.startswith('empty index'):
        step = case['steps'][0]
        return expect_match(approximate(), grown(step['produce']), [{}] * 2,
                            {0: step['expect']['pod1'], 1: step['expect']['pod2']})
    if name.startswith('partial match'):
        first, _, last = case['steps']
        text = config([plugin('approx-prefix-cache-producer', autoTune=False, blockSizeTokens=64),
                       plugin('prefix-cache-scorer'), plugin('max-score-picker'), plugin('always-disagg-pd-decider'),
                       plugin('disagg-profile-handler', deciders={'prefill': 'always-disagg-pd-decider'})],
                      [profile('decode', 'prefix-cache-scorer'), profile('prefill', 'prefix-cache-scorer')])
        return expect_match(text, grown(last['produce']), [{}] * 3,
                            {i: last['expect'][f'pod{i + 1}'] for i in range(3)},
                            history=[went(grown(first['produce']), 0, prefill=2)])
    if name.startswith('LRU capacity'):
        return approx_capacity(case)
    if name.startswith('autotune'):
        return expect_match(approximate(autoTune=True, blockSizeTokens=case['blockSizeTokens']), [[1, 2, 3]],
                            [{'blockSize': case['pod_CacheBlockSize']}], {0: {'block': case['effective_block']}})
    if name == 'maxPrefixTokensToMatch':
        return expect_match(approximate(maxPrefixTokensToMatch=64 * case['maxPrefixTokensToMatch']), grown([case['tokens']]),
                            [{}], {0: {'total': case['blocks']}})
    if name == 'multi prompt totals':
        return expect_match(approximate(), grown(case['prompts']), [{}], {0: case['expect']})
    if name == 'multi prompt full hit':
        return expect_match(approximate(), grown(case['query']), [{}], {0: case['expect']},
                            history=[went(grown(case['seed']), 0)])
    raise NotApplicable('not known')


def approx_capacity(case):
    """Three one-block prompts on one endpoint; then each is asked for."""
    text = approximate(lruCapacityPerServer=case['lruCapacityPerServer'])
    history = [went(grown([[n]]), 0) for n in (1, 2, 3)]
    want = case['expect_indexed']

    def check(results):
        got = [column(r, 'match')['0'] == 1 for r in results]
        return None if got == want else f'known: {got}'
    return Case([situation(text, [{}], completions(grown([[n]])), history=history, show=['producers']) for n in (1, 2, 3)],
                check)


def approx_config(case):
    kind = 'approx-prefix-cache-producer'
    if case.get('level') == 'constructor':
        # Its constructor is stricter than its factory, which sees the file: {"autoTune": false, "blockSize": 1} passes there.
        return expect_configs(refused=[with_parameters(kind, {'autoTune': False, 'blockSizeTokens': 0})])
    given = case['params'] if isinstance(case['params'], list) else [case['params']]
    texts = [with_parameters(kind, p) for p in given]
    if not case['ok']:
        return expect_configs(refused=texts)
    return expect_configs(accepted=texts, effective=[f'{k}: {v}' for k, v in case.get('effective', {}).items()])


@table('prefix-blocks')
def blocks(case, _):
    if 'property' in case:
        return salted() if 'salt' in case['property'] else separate()
    if case['bs'] == 0:
        return expect_configs(refused=[with_parameters('approx-prefix-cache-producer',
                                                       {'autoTune': False, 'blockSizeTokens': 0})])
    prompts = case.get('prompts') or [case['tokens']]
    if [] in prompts:
        raise NotApplicable('an empty prompt beside others: bodies with one are refused, as by the engines')
    want = sum(case['per_prompt']) if 'per_prompt' in case else len(case['blocks'])
    return expect_match(approximate(), grown(prompts, case['bs']), [{}], {0: {'total': want}})


def salted():
    """What was cached under one salt is not found under another, nor without."""
    def asked(**salt):
        return dict(completions(grown([[1, 2]]), **salt))
    history = [dict(asked(cache_salt='a'), ep=0)]
    salts = [{'cache_salt': 'a'}, {'cache_salt': 'b'}, {}]

    def check(results):
        got = [column(r, 'match')['0'] for r in results]
        return None if got == [2, 0, 0] else f'matches {got}'
    return Case([situation(approximate(), [{}], asked(**s), history=history, show=['producers']) for s in salts], check)


def separate():
    """Each prompt is a chain of its own: the second of [[1, 2], [3, 4]] is not found in [1, 2, 3, 4]."""
    return expect_match(approximate(), grown([[1, 2], [3, 4]]), [{}], {0: {'match': 2, 'total': 4}},
                        history=[went(grown([[1, 2, 3, 4]]), 0)])


# ---- load in flight ----------------------------------------------------------------------------------------------------

@table('token-estimator')
def tokens(case, _):
    if case['input'] < 0:
        raise NotApplicable('a prompt has no negative length')
    parameters = known(outputRatio=case.get('ratio'), maxEstimatedOutputTokens=case.get('operatorMax'))
    text = one_profile(plugin('inflight-load-producer', addEstimatedOutputTokens=True, **parameters) |
                       {'name': 'inflight-load-producer'}, plugin('token-load-scorer'))
    request = completions('', tokens=case['input'], **known(max_tokens=case.get('clientMax')))
    want = case['total'] if 'total' in case else case['input'] + case['output']
    name = 'InFlightLoad.uncached'

    def check(results):
        got = results[0]['producers'][name]['0']
        return None if got == want else f'{got} tokens, expected {want}'
    return Case([situation(text, [{}], request, show=['producers'])], check)
