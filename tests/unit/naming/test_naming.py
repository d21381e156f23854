"""Names: what templates may say, what comes out, and the sentences for what cannot be used."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator import naming
from tracking_operator.naming import BadName, ChildNames, TemplateValues

VALUES = TemplateValues(
    namespace="team-a",
    name="mlflow",
    class_name="standard",
    cluster_name="north",
    namespace_labels={"stage": "test"},
)

labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=6).map(".".join)
segments = st.from_regex(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,20}", fullmatch=True)
paths = st.lists(segments, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))


class TestRender:
    @pytest.mark.parametrize(
        ("template", "result"),
        [
            ("plain", "plain"),
            ("{{ name }}-{{ namespace }}.example.com", "mlflow-team-a.example.com"),
            ("{{ class }}/{{ clusterName }}", "standard/north"),
            ("{{ namespaceLabels.stage }}", "test"),
            ("{{ namespaceLabels['stage'] | upper }}", "TEST"),
            ("{% if namespaceLabels.stage == 'test' %}t{% else %}p{% endif %}", "t"),
            ("{{ namespaceLabels.get('missing', 'none') }}", "none"),
        ],
    )
    def test_fills_in_what_a_template_refers_to(self, template: str, result: str) -> None:
        assert naming.render(template, VALUES) == result

    @pytest.mark.parametrize(
        "template",
        [
            "{{ nothing }}",
            "{{ namespaceLabels.missing }}",
            "{{ name",
            "{% for %}",
            "{{ name | nofilter }}",
            "{{ 1 / 0 }}",
            "{{ name + 1 }}",
            "{{ name.nothing() }}",
            "{{ name[0][5] }}",
            "{{ '%d' % name }}",
            "{{ name.encode('nonsense') }}",
            "{% include 'other' %}",
            "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        ],
    )
    def test_a_template_that_does_not_work_is_refused_with_a_sentence(self, template: str) -> None:
        with pytest.raises(BadName, match=r"^The template .+ cannot be rendered: .+\.$"):
            naming.render(template, VALUES)

    @pytest.mark.parametrize(
        "template",
        [
            "{{ ''.__class__ }}",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ name.__init__.__globals__ }}",
            "{{ namespaceLabels.__class__ }}",
            "{{ '{0.__class__}'.format(name) }}",
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "{{ lipsum.__globals__['os'] }}",
            "{{ self.__init__ }}",
            "{{ self._TemplateReference__context }}",
            "{{ name | attr('__class__') }}",
            "{% set _ = namespaceLabels.update({'stage': 'x'}) %}",
            "{% set _ = namespaceLabels.clear() %}",
            "{{ name.mro() }}",
        ],
    )
    def test_no_template_leaves_the_sandbox(self, template: str) -> None:
        with pytest.raises(BadName):
            naming.checked_host(naming.render(template, VALUES))
        assert VALUES.namespace_labels == {"stage": "test"}

    @pytest.mark.parametrize("template", ["{{ lipsum() }}", "{{ ['a', 'b'] | random }}"])
    def test_no_template_throws_dice(self, template: str) -> None:
        with pytest.raises(BadName):
            naming.render(template, VALUES)

    @pytest.mark.parametrize(
        "template",
        [
            "{{ 'a' * 1000000000 }}",
            "{{ 10 ** 1000000 }}",
            "{{ '%1000000000d' % 1 }}",
            "{% for _ in range(1000000000) %}a{% endfor %}",
            "{% for _ in range(99999) %}{% for _ in range(99999) %}a{% endfor %}{% endfor %}",
        ],
    )
    def test_a_template_that_never_stops_writing_is_stopped(self, template: str) -> None:
        with pytest.raises(BadName):
            naming.render(template, VALUES)

    def test_a_long_text_is_refused_and_not_repeated_in_full(self) -> None:
        with pytest.raises(BadName) as refused:
            naming.render("{{ name }}" * 1000, VALUES)
        assert len(str(refused.value)) < 500

    @given(st.text(max_size=40))
    def test_what_a_tenant_writes_is_a_value_and_never_a_template(self, name: str) -> None:
        values = TemplateValues(name, "{{ 1 + 1 }}", "{% for %}", "", {})
        assert (
            naming.render("{{ namespace }}|{{ name }}|{{ class }}", values)
            == f"{name}|{{{{ 1 + 1 }}}}|{{% for %}}"
        )

    @given(st.text(max_size=60))
    def test_any_template_is_rendered_or_refused(self, template: str) -> None:
        try:
            naming.render(template, VALUES)
        except BadName as refused:
            assert str(refused)


class TestHosts:
    @given(hosts)
    def test_every_dns_name_is_a_host(self, host: str) -> None:
        assert naming.checked_host(host) == host

    @pytest.mark.parametrize(
        "host",
        [
            "",
            ".",
            "a..b",
            ".example.com",
            "example.com.",
            "-a.example.com",
            "a-.example.com",
            "Example.com",
            "example.com:80",
            "http://example.com",
            "exa mple.com",
            "example.com\n",
            "*.example.com",
            "exämple.com",
            "a_b.example.com",
            "a" * 64 + ".com",
            ".".join(["a" * 60] * 5),
        ],
    )
    def test_anything_else_is_refused_with_a_sentence(self, host: str) -> None:
        with pytest.raises(BadName, match="is not a host name: write lower-case letters"):
            naming.checked_host(host)

    @given(st.text(max_size=30))
    def test_what_passes_is_safe_in_a_comma_separated_list(self, text: str) -> None:
        try:
            host = naming.checked_host(text)
        except BadName:
            return
        assert re.fullmatch(r"[a-z0-9.-]+", host)


class TestPaths:
    @given(paths)
    def test_segments_of_plain_characters_are_a_path(self, path: str) -> None:
        assert naming.checked_path(path) == path

    def test_the_root_is_a_path_without_a_prefix(self) -> None:
        assert naming.checked_path("/") == "/"
        assert naming.url_prefix("/") == ""
        assert naming.url_prefix("/team-a") == "/team-a"

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "team-a",
            "/team-a/",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a/.hidden",
            "/a b",
            "/a?b",
            "/a#b",
            "/a%2e",
            "/a\n",
            "/ä",
            "/" + "a" * 200,
            "/a;b",
            "/{{ name }}",
        ],
    )
    def test_anything_else_is_refused_with_a_sentence(self, path: str) -> None:
        with pytest.raises(BadName, match="is not a URL path: begin with '/'"):
            naming.checked_path(path)


class TestAddresses:
    @given(labels, labels, st.one_of(st.just("/"), paths))
    def test_the_url_in_the_cluster_leads_to_the_prefix(self, name: str, namespace: str, path: str) -> None:
        url = naming.service_url(name, namespace, path)
        assert url == f"http://{name}.{namespace}.svc{naming.url_prefix(path)}"
        assert not url.endswith("/")

    def test_the_host_of_the_url_is_one_of_the_names_of_the_service(self) -> None:
        names = naming.service_host_names("mlflow", "team-a", "cluster.local")
        assert naming.service_host("mlflow", "team-a") in names
        assert len(set(names)) == 4


class TestChildNames:
    @given(st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True))
    def test_are_names_of_kubernetes_and_differ(self, server: str) -> None:
        names = ChildNames(server)
        derived = [names.backend_store, names.artifact_store, names.client, names.check]
        assert len({names.workload, *derived}) == 5
        assert all(
            re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in [names.workload, *derived]
        )

    def test_are_the_documented_ones(self) -> None:
        names = ChildNames("mlflow")
        assert names.workload == "mlflow"
        assert names.backend_store == "mlflow-backend-store"
        assert names.artifact_store == "mlflow-artifact-store"
        assert names.client == "mlflow-client"
        assert names.check == "mlflow-check"
