#!/usr/bin/env python3
"""Triton's own Python client against a real server."""

import json
import queue

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import ebb_server

PROMPT = "The capital of France is"


def tensor(name, value):
    if isinstance(value, bool):
        array, datatype = np.array([value]), "BOOL"
    else:
        array, datatype = np.array([value.encode()], dtype=np.object_), "BYTES"
    out = triton.InferInput(name, [1], datatype)
    out.set_data_from_numpy(array)
    return out


def inputs(text=PROMPT, **more):
    return [tensor("text_input", text)] + [tensor(name, value) for name, value in more.items()]


def text_of(result):
    return result.as_numpy("text_output")[0].decode()


GREEDY = json.dumps({"temperature": 0, "max_tokens": 12})


class Stream:
    """One ModelStreamInfer; results and errors come out of a queue."""

    def __init__(self, client):
        self.client = client
        self.came = queue.Queue()
        client.start_stream(lambda result, error: self.came.put((result, error)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop_stream()

    def next(self):
        result, error = self.came.get(timeout=60)
        if error is not None:
            raise error
        return result

    def answer(self):
        """The texts of one request, and the last result."""
        texts = []
        while True:
            result = self.next()
            texts.append(text_of(result))
            if result.get_response().parameters["triton_final_response"].bool_param:
                return texts, result


def is_live_and_ready(client, model):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert client.get_server_metadata().name == "ebb"
    metadata = client.get_model_metadata(model)
    assert metadata.inputs[0].name == "text_input" and metadata.inputs[0].datatype == "BYTES"
    assert metadata.outputs[0].name == "text_output"


def infers_whole(client, model):
    result = client.infer(model, inputs(
        sampling_parameters=GREEDY, exclude_input_in_output=True, return_finish_reason=True,
        return_num_input_tokens=True, return_num_output_tokens=True), request_id="an id")
    text = text_of(result)
    assert text and not text.startswith(PROMPT), text
    assert result.as_numpy("finish_reason")[0] == b"length"
    assert result.as_numpy("num_output_tokens")[0] == 12
    assert 4 <= result.as_numpy("num_input_tokens")[0] <= 10
    assert result.get_response().id == "an id"
    # The prompt comes first where nobody says no.
    assert text_of(client.infer(model, inputs(sampling_parameters=GREEDY))) == PROMPT + text
    # Parameters of the request do as well as sampling_parameters.
    asked = client.infer(model, inputs(exclude_input_in_output=True),
                         parameters={"temperature": 0.0, "max_tokens": 12})
    assert text_of(asked) == text


def streams_the_same_text(client, model):
    whole = text_of(client.infer(model, inputs(sampling_parameters=GREEDY,
                                               exclude_input_in_output=True)))
    with Stream(client) as stream:
        client.async_stream_infer(model, inputs(sampling_parameters=GREEDY, stream=True),
                                  request_id="7", enable_empty_final_response=True)
        texts, last = stream.answer()
        assert "".join(texts) == whole and len(texts) > 1, (texts, whole)
        assert last.get_response().id == "7"
        # Another on the same stream, whole.
        client.async_stream_infer(model, inputs(sampling_parameters=GREEDY))
        assert stream.answer()[0] == [PROMPT + whole]


def stops_and_seeds(client, model):
    def text(**parameters):
        return text_of(client.infer(model, inputs(
            sampling_parameters=json.dumps(parameters), exclude_input_in_output=True)))
    greedy = text(temperature=0, max_tokens=12)
    stop = greedy.split()[1]
    assert text(temperature=0, max_tokens=12, stop=[stop]) == greedy[:greedy.index(stop)]
    assert text(seed=5, max_tokens=16) == text(seed="5", max_tokens="16")
    assert len({text(seed=seed, max_tokens=16) for seed in (5, 6, 7)}) > 1


def answers_several_times(client, model):
    ask = json.dumps({"n": 3, "seed": 5, "max_tokens": 12})
    texts = client.infer(model, inputs(sampling_parameters=ask,
                                       exclude_input_in_output=True)).as_numpy("text_output")
    assert texts.shape == (3,) and len(set(texts)) > 1, texts
    with Stream(client) as stream:
        client.async_stream_infer(model, inputs(sampling_parameters=ask, stream=True))
        streamed = [b"", b"", b""]
        final = False
        while not final:
            result = stream.next()
            pieces = result.as_numpy("text_output")
            streamed = [text + piece for text, piece in zip(streamed, pieces, strict=True)]
            final = result.get_response().parameters["triton_final_response"].bool_param
        assert streamed == list(texts), (streamed, texts)


def tells_what_is_wrong(client, model):
    def refused(code, words, name=model, **more):
        try:
            client.infer(name, inputs(**more))
        except InferenceServerException as error:
            assert error.status() == f"StatusCode.{code}" and words in error.message(), error
            return
        raise AssertionError(f"not refused: {more}")
    refused("NOT_FOUND", "serves", name="another")
    refused("INVALID_ARGUMENT", "temperature", sampling_parameters='{"temperature": -1}')
    refused("INVALID_ARGUMENT", "unheard_of", sampling_parameters='{"unheard_of": 1}')
    refused("INVALID_ARGUMENT", "ModelStreamInfer", stream=True)
    with Stream(client) as stream:
        client.async_stream_infer("another", inputs(stream=True))
        try:
            stream.next()
            raise AssertionError("not refused")
        except InferenceServerException as error:
            assert error.message().startswith("NOT_FOUND: "), error
        # The stream goes on.
        client.async_stream_infer(model, inputs(sampling_parameters=GREEDY, stream=True))
        assert stream.answer()[0]


def a_stream_can_be_left(client, model):
    stream = Stream(client)
    client.async_stream_infer(model, inputs(
        sampling_parameters='{"max_tokens": 1500, "ignore_eos": true}', stream=True))
    stream.next()
    client.stop_stream(cancel_requests=True)
    assert client.infer(model, inputs(sampling_parameters=GREEDY))


def main():
    options = ebb_server.arguments(__doc__)
    with ebb_server.Server(options) as server:
        client = triton.InferenceServerClient(server.grpc)
        ebb_server.run_checks([
            is_live_and_ready, infers_whole, streams_the_same_text, stops_and_seeds,
            answers_several_times, tells_what_is_wrong, a_stream_can_be_left],
            client, client.get_model_metadata("").name)


if __name__ == "__main__":
    main()
