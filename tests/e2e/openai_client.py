"""What OpenAI's own client gets through the proxy: openai_client.py BASE_URL. Prints JSON, then leaves a stream in the
middle, says "left", and stays until its input ends."""
import json
import sys

import openai

MODEL = 'llmd-filler'
WEATHER = {'type': 'function', 'function': {'name': 'get_weather', 'parameters': {'type': 'object', 'properties': {
    'city': {'type': 'string'}, 'days': {'type': 'integer'}}}}}
client = openai.OpenAI(base_url=sys.argv[1], api_key='a-key', max_retries=0, timeout=60)


def ask(text='Once upon a time', n=9, **more):
    messages = [{'role': 'user', 'content': text}]
    return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=n, **more)


def words(stream):
    """The text of a stream, what said usage, how it finished."""
    text, usage, finish = '', [], None
    for chunk in stream:
        usage += [chunk.usage.completion_tokens] if chunk.usage else []
        for choice in chunk.choices:
            text += choice.delta.content or ''
            finish = choice.finish_reason or finish
    return text, usage, finish


def calls(stream):
    name, arguments = '', ''
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                name += call.function.name or ''
                arguments += call.function.arguments or ''
    return name, sorted(json.loads(arguments))


def refusal():
    try:
        client.chat.completions.create(model='nobody', messages=[{'role': 'user', 'content': 'x'}])
    except openai.NotFoundError as error:
        return error.status_code, error.body['type'], 'nobody' in error.body['message']
    return None


def main():
    whole = ask()
    tools = {'tools': [WEATHER], 'tool_choice': 'required', 'n': 200}
    call = ask(**tools).choices[0].message.tool_calls[0].function
    long = ('All work and no play makes a dull day. ' * 6000)[:220 * 1024]
    print(json.dumps({
        'whole': [whole.usage.completion_tokens, whole.choices[0].finish_reason],
        'stream': words(ask(stream=True)) == (whole.choices[0].message.content, [], 'length'),
        'stream with usage': words(ask(stream=True, stream_options={'include_usage': True})) ==
                             (whole.choices[0].message.content, [9], 'length'),
        'stream that says no': words(ask(stream=True, stream_options={'include_usage': False}))[1],
        'tools': [call.name, sorted(json.loads(call.arguments))],
        'tools in a stream': calls(ask(stream=True, **tools)),
        'long': [ask(long).usage.prompt_tokens > 50000, words(ask(long, stream=True))[2]],
        'completion': client.completions.create(model=MODEL, prompt='Once', max_tokens=5).usage.completion_tokens,
        'models': [m.id for m in client.models.list()],
        'unknown model': refusal(),
    }), flush=True)
    stream = ask('Never mind', n=5000, stream=True)
    for _ in range(5):
        next(stream)
    stream.close()
    print('left', flush=True)
    sys.stdin.read()


main()
