"""Published client packages against a running server, each as its documentation shows."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")

from tests.serve.server_process import b64, make_image
from tests.toy import DIM

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

TEXTS = ["x-ray chest", "data: computed tomography chest"]
IMAGE = make_image(3)
URI = f"data:image/png;base64,{b64(IMAGE)}"


def equal(found: Any, expected: Any) -> bool:
    return bool(np.allclose(np.asarray(found, dtype=np.float32), expected, atol=1e-5))


def test_openai(server: ServerProcess, toy: MedImageInsight) -> None:
    openai = pytest.importorskip("openai", reason="needs the development tools")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        texts = client.embeddings.create(model="toy", input=TEXTS, dimensions=DIM)
        assert equal([item.embedding for item in texts.data], toy.embed_texts(TEXTS))
        image = client.embeddings.create(model="toy", input=URI, extra_body={"frame": 0, "window": "1%-99%"})
        assert equal(image.data[0].embedding, toy.embed_images([IMAGE])[0])
        assert [model.id for model in client.models.list()] == ["toy"]
        with pytest.raises(openai.BadRequestError, match="'dimensions' to be 8"):
            client.embeddings.create(model="toy", input="a", dimensions=4)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.embeddings.create(model="toy", input=["a", "data:image/png;base64,!"])
        assert caught.value.code == "image_bad_base64"


def test_azure_openai(server: ServerProcess, toy: MedImageInsight) -> None:
    openai = pytest.importorskip("openai", reason="needs the development tools")
    options = {"api_key": "unused", "api_version": "2024-10-21", "azure_endpoint": server.url, "max_retries": 0}
    for model, deployment in (("toy", None), ("text-embedding-3-small", "toy")):
        with openai.AzureOpenAI(**options, azure_deployment=deployment) as client:
            answer = client.embeddings.create(model=model, input=TEXTS)
            assert equal([item.embedding for item in answer.data], toy.embed_texts(TEXTS))
    with openai.AzureOpenAI(**options) as client, pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="other", input=TEXTS)


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_litellm(server: ServerProcess, toy: MedImageInsight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it asks a host for prices
    litellm = pytest.importorskip("litellm", reason="needs the development tools")
    answer = litellm.embedding(model="openai/toy", api_base=f"{server.url}/v1", api_key="unused", input=[*TEXTS, URI])
    assert equal([item["embedding"] for item in answer.data[:2]], toy.embed_texts(TEXTS))
    assert equal(answer.data[2]["embedding"], toy.embed_images([IMAGE])[0])


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_langchain(server: ServerProcess, toy: MedImageInsight) -> None:
    langchain_openai = pytest.importorskip("langchain_openai", reason="needs the development tools")
    embeddings = langchain_openai.OpenAIEmbeddings(
        model="toy", base_url=f"{server.url}/v1", api_key="unused", check_embedding_ctx_length=False
    )
    assert equal(embeddings.embed_documents(TEXTS), toy.embed_texts(TEXTS))
    assert equal(embeddings.embed_query(TEXTS[0]), toy.embed_texts(TEXTS[0]))


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_llama_index(server: ServerProcess, toy: MedImageInsight) -> None:
    llama_index = pytest.importorskip("llama_index.embeddings.openai", reason="needs the development tools")
    embeddings = llama_index.OpenAIEmbedding(model_name="toy", api_base=f"{server.url}/v1", api_key="unused")
    assert equal(embeddings.get_text_embedding_batch(TEXTS), toy.embed_texts(TEXTS))
    assert equal(embeddings.get_query_embedding(TEXTS[0]), toy.embed_texts(TEXTS[0]))


def test_azure_ai_inference(server: ServerProcess, toy: MedImageInsight, tmp_path: Path) -> None:
    inference = pytest.importorskip("azure.ai.inference", reason="needs the development tools")
    from azure.ai.inference.models import ImageEmbeddingInput
    from azure.core.credentials import AzureKeyCredential
    from azure.core.exceptions import HttpResponseError

    file = tmp_path / "image.png"
    file.write_bytes(IMAGE)
    options = {"endpoint": server.url, "credential": AzureKeyCredential("unused"), "retry_total": 0}
    with inference.EmbeddingsClient(**options) as texts:
        answer = texts.embed(input=TEXTS, model="toy", dimensions=DIM, model_extras={"unknown": 1})
        assert equal([item.embedding for item in answer.data], toy.embed_texts(TEXTS))
        info = texts.get_model_info()
        assert (info.model_name, info.model_type) == ("toy", "embeddings")
    for endpoint in (server.url, f"{server.url}/v1"):
        with inference.ImageEmbeddingsClient(**{**options, "endpoint": endpoint}) as images:
            image = ImageEmbeddingInput.load(image_file=str(file), image_format="png")
            assert equal(images.embed(input=[image]).data[0].embedding, toy.embed_images([IMAGE])[0])
            (item,) = images.embed(input=[image], encoding_format="base64").data
            assert equal(np.frombuffer(base64.b64decode(item.embedding), "<f4"), toy.embed_images([IMAGE])[0])
            with pytest.raises(HttpResponseError) as caught:
                images.embed(input=[ImageEmbeddingInput(image=URI, text="x-ray")])
            assert caught.value.status_code == 422


def test_unknown_members_are_refused_where_the_header_asks_for_it(server: ServerProcess) -> None:
    body = {"input": ["x-ray"], "unknown": 1}
    assert server.post("/embeddings", body, {"extra-parameters": "pass-through"}).status == 200
    refused = server.post("/embeddings", body, {"extra-parameters": "error"})
    assert (refused.status, refused.json["error"]["code"]) == (400, "request_invalid")


def test_chat_messages(server: ServerProcess, toy: MedImageInsight) -> None:
    content = [{"type": "image_url", "image_url": {"url": URI, "detail": "high"}}, {"type": "text", "text": ""}]
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": content}]
    request = {"model": "toy", "messages": messages, "encoding_format": "float", "add_generation_prompt": False}
    (item,) = server.post("/v1/embeddings", request).json["data"]
    assert equal(item["embedding"], toy.embed_images([IMAGE])[0])
    content[1] = {"type": "text", "text": TEXTS[0]}
    image, text = server.post("/v1/embeddings", request).json["data"]
    assert equal(image["embedding"], toy.embed_images([IMAGE])[0])
    assert equal(text["embedding"], toy.embed_texts(TEXTS[0]))
    for wrong in ([{"role": "user", "content": ""}], [], [{"content": [{"type": "audio"}]}]):
        assert server.post("/v1/embeddings", {"messages": wrong}).status in (400, 422)


def test_only_a_data_uri_in_base64_is_an_image(server: ServerProcess, toy: MedImageInsight) -> None:
    texts = ["data: chest film", "data:,x", "data:text/plain,chest", "dataset", "DATA:"]
    answer = server.post("/v1/embeddings", {"input": texts}).json["data"]
    assert equal([item["embedding"] for item in answer], toy.embed_texts(texts))
    for wrong, code in (
        ("data:image/png;base64,@", "image_bad_base64"),
        ("data:image/png,abc", "image_bad_data_uri"),
        ("data:;base64,", "image_empty"),
    ):
        assert server.post("/v1/embeddings", {"input": wrong}).json["error"]["code"] == code


def test_half_a_surrogate_pair_is_an_error_of_its_row(server: ServerProcess, toy: MedImageInsight) -> None:
    half = rb'"a \ud83d b"'
    good, bad = server.post("/score", b'{"input_data": {"columns": ["text"], "data": [["a"], [%b]]}}' % half).json
    assert equal(good["text_features"], toy.embed_texts("a"))
    assert bad["error"]["code"] == "text_not_unicode"
    images = b'{"images": ["%b", %b], "labels": ["a", "b"]}' % (b64(IMAGE).encode(), half)
    good, bad = server.post("/api/classify", images).json["results"]
    assert "probabilities" in good
    assert bad["error"]["code"] == "image_bad_base64"
    for body, status, code in (
        (b'{"input": ["a", %b]}', 422, "text_not_unicode"),
        (b'{"input": %b}', 422, "text_not_unicode"),
        (b'{"input": {"image": %b}}', 422, "text_not_unicode"),
        (b'{"input": "a", "model": %b}', 404, "model_not_found"),
        (b"{%b: 1}", 400, "request_not_json"),
    ):
        answer = server.post("/v1/embeddings", body % half)
        assert (answer.status, answer.json["error"]["code"]) == (status, code), body
    tensor = b'{"id": %b, "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [%b]}]}'
    assert server.post("/v2/models/toy/infer", tensor % (half, half)).status in (400, 422)
