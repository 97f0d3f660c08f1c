"""What the tables share: a case, and checks of results."""
from situations import config, plugin, profile, situation

TOLERANCE = 1e-4


class NotApplicable(Exception):
    """The case has no meaning for a decision; the text says why."""


class Case:
    """Situations to decide, and check(results): what is wrong, or None."""

    def __init__(self, situations, check):
        self.situations = situations
        self.check = check


def profile_of(result, name='default'):
    return result['profiles'][name]


def scores_of(result, scorer=0, name='default'):
    return profile_of(result, name)['scorers'][scorer]['scores']


def kept_of(result, which=0, name='default'):
    return profile_of(result, name)['filters'][which]['kept']


def compare_scores(got, want, tolerance=TOLERANCE):
    """want: by endpoint, None = no score at all."""
    for i, expected in enumerate(want):
        score = got.get(str(i))
        if (score is None) != (expected is None) or (score is not None and abs(score - expected) > tolerance):
            return f'endpoint {i}: {score}, expected {expected}'
    return None


def expect_scores(text, rows, want, tolerance=TOLERANCE, request=None, **more):
    """One situation whose first scorer must say so."""
    return Case([situation(text, rows, request, **more)],
                lambda r: compare_scores(scores_of(r[0]), want, tolerance))


def expect_kept(text, rows, want, request=None, **more):
    """One situation whose first filter must keep these, in this order."""
    return Case([situation(text, rows, request, **more)],
                lambda r: None if kept_of(r[0]) == want else f'kept {kept_of(r[0])}, expected {want}')


def expect_configs(accepted=(), refused=(), effective=None):
    """Configurations by text; effective: lines that the first accepted one must have after defaulting."""
    texts = list(accepted) + list(refused)

    def check(results):
        for i, result in enumerate(results):
            error = result.get('configError')
            if i < len(accepted) and error:
                return f'refused: {texts[i]}: {error}'
            if i >= len(accepted) and not error:
                return f'accepted: {texts[i]}'
        missing = [line for line in effective or () if line not in results[0]['config']]
        return f'not effective: {missing} in {results[0]["config"]}' if missing else None
    return Case([situation(t, [{}], show=['config']) for t in texts], check)


def with_parameters(kind, parameters, *others):
    """A configuration with one plugin; None = without parameters at all."""
    return config([plugin(kind, **(parameters or {})), *others, plugin('max-score-picker')],
                  [profile('default', 'max-score-picker')])
