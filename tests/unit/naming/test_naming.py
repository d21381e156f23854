"""Names: what templates may say, what comes out, and the sentences for what cannot be used."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracking_operator import naming
from tracking_operator.naming import BadName, ChildNames, TemplateValues
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.tenant import Tenant

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
            ("{{ name }}.{{ namespace }}.example.com", "mlflow.team-a.example.com"),
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


cluster_names = st.text(min_size=1, max_size=40)
servers = st.builds(
    TemplateValues,
    namespace=labels,
    name=labels,
    class_name=labels,
    cluster_name=cluster_names,
    namespace_labels=st.just({"stage": "test"}),
)
LITERALS = st.one_of(
    st.text(st.characters(exclude_characters="{"), max_size=60),
    st.sampled_from(
        [
            "pg",
            "pg_",
            "PG",
            "__pg__",
            "pg_catalog",
            "public",
            "none",
            "user",
            "select",
            "postgres",
            "template1",
            "İstanbul",
            "ﬃ",
            "Ä'; DROP DATABASE x; --",
            '"quoted"',
            "$$",
            "🦄",
            "数据库",
            "-",
            "_",
            "1",
            "_1",
            "a" * 60 + "_",
            "x" * 1000,
            "\x00",
            "\u202e",
        ]
    ),
)
database_templates = st.one_of(
    LITERALS,
    st.lists(
        st.one_of(
            LITERALS,
            st.sampled_from(
                [
                    "{{ name }}",
                    "{{ namespace }}",
                    "{{ class }}",
                    "{{ clusterName }}",
                    "{{ namespaceLabels.stage }}",
                    "{{ name | upper }}",
                ]
            ),
        ),
        max_size=6,
    ).map("".join),
)


class TestDatabases:
    @settings(max_examples=1000)
    @given(database_templates, servers)
    def test_are_called_by_a_plain_identifier_whatever_the_template(
        self, template: str, values: TemplateValues
    ) -> None:
        try:
            name = naming.database_name(template, values)
        except BadName as refused:
            assert "writes more than" in str(refused)
            return
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert len(name.encode()) <= 61
        assert not name.startswith("pg_")
        assert naming.database_name(template, values) == name
        tenant = Tenant.named(name, Mark(values.cluster_name, values.namespace, values.name))
        assert {tenant.database, *tenant.roles} == {name, f"{name}_a", f"{name}_b"}

    @settings(max_examples=300)
    @given(st.sampled_from(["same", "", "s" * 100, "{{ name[:1] }}"]), servers, servers)
    def test_of_two_servers_differ_even_if_all_that_can_be_read_is_equal(
        self, template: str, one: TemplateValues, other: TemplateValues
    ) -> None:
        assume(identity(one) != identity(other))
        assert naming.database_name(template, one) != naming.database_name(template, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("north", "team-a", "mlflow"), ("south", "team-a", "mlflow")),
            (("north", "a", "b-c"), ("north", "a-b", "c")),
            (("north", "a", "bc"), ("north", "ab", "c")),
            (("north/a", "b", "c"), ("north", "a", "b")),
        ],
    )
    def test_of_servers_whose_names_run_together_differ(
        self, one: tuple[str, str, str], other: tuple[str, str, str]
    ) -> None:
        names = {
            naming.database_name(
                "{{ clusterName }}{{ namespace }}{{ name }}",
                replace(VALUES, cluster_name=cluster, namespace=namespace, name=name),
            )
            for cluster, namespace, name in (one, other)
        }
        assert len(names) == 2

    def test_of_two_thousand_servers_with_the_same_template_all_differ(self) -> None:
        names = {
            naming.database_name("mlflow", replace(VALUES, namespace=f"team-{number}"))
            for number in range(2_000)
        }
        assert len(names) == 2_000

    def test_keep_their_name_when_the_class_is_called_otherwise(self) -> None:
        template = "{{ namespace }}_{{ name }}"
        renamed = replace(VALUES, class_name="gold", namespace_labels={})
        assert naming.database_name(template, renamed) == naming.database_name(template, VALUES)

    @pytest.mark.parametrize(
        ("template", "readable"),
        [
            ("mlflow_{{ namespace }}_{{ name }}", "mlflow_team_a_mlflow"),
            ("{{ name | upper }}", "mlflow"),
            ("a--b  c", "a_b_c"),
            ("__a__", "a"),
            ("1st", "mlflow_1st"),
            ("", "mlflow"),
            ("!!!", "mlflow"),
            ("数据库", "mlflow"),
            ("pg", "mlflow_pg"),
            ("PG-stats", "mlflow_pg_stats"),
            ("pgsql", "pgsql"),
            ("Röße", "r_e"),
            ("x" * 200, "x" * 44),
            ("x" * 43 + "-y", "x" * 43),
        ],
    )
    def test_can_be_told_apart_by_people(self, template: str, readable: str) -> None:
        name = naming.database_name(template, VALUES)
        assert re.fullmatch(rf"{readable}_[0-9a-f]{{16}}", name)

    def test_are_called_as_they_always_were(self) -> None:
        # Another hash would give every server that has lost its record another, empty database.
        assert naming.database_name("db", VALUES) == "db_ef5817d3f1368549"

    @pytest.mark.parametrize("template", ["{{ nothing }}", "{{ name", "{{ 'a' * 9999 }}", "x" * 1025])
    def test_get_no_name_from_a_template_that_does_not_work(self, template: str) -> None:
        with pytest.raises(BadName, match="The template"):
            naming.database_name(template, VALUES)


def identity(values: TemplateValues) -> tuple[str, str, str]:
    return (values.cluster_name, values.namespace, values.name)


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


class TestOrigins:
    @pytest.mark.parametrize(
        ("template", "host", "origin"),
        [
            ("http://localhost:7006", "", "http://localhost:7006"),
            ("https://{{ host }}:8443", "mlflow.example.com", "https://mlflow.example.com:8443"),
            ("https://{{ namespace }}.example.com/", "x", "https://team-a.example.com"),
            ("https://mlflow.example.com:443", "", "https://mlflow.example.com"),
            ("http://mlflow.example.com:80", "", "http://mlflow.example.com"),
            ("http://mlflow.example.com:443", "", "http://mlflow.example.com:443"),
        ],
    )
    def test_are_what_people_write_before_the_path(self, template: str, host: str, origin: str) -> None:
        assert naming.public_origin(template, VALUES, host) == origin

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "mlflow.example.com",
            "ftp://mlflow.example.com",
            "https://",
            "https://mlflow.example.com/path",
            "https://mlflow.example.com?query",
            "https://mlflow.example.com#part",
            "https://user:word@mlflow.example.com",
            "https://MLflow.example.com",
            "https://mlflow.example.com:0",
            "https://mlflow.example.com:65536",
            "https://mlflow.example.com:",
            "https://*.example.com",
            "https://" + "a." * 130 + "com",
            "https://a.com,https://b.com",
            "https://{{ host }}",
        ],
    )
    def test_anything_else_is_refused_with_a_sentence(self, url: str) -> None:
        with pytest.raises(BadName):
            naming.public_origin(url, VALUES, "")


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
        derived = [
            names.backend_store,
            names.artifact_store,
            names.client,
            names.former_scripts,
            names.database,
            names.migration("3.17.2"),
        ]
        assert len({names.workload, *derived}) == 7
        assert all(
            re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in [names.workload, *derived]
        )

    def test_are_the_documented_ones(self) -> None:
        names = ChildNames("mlflow")
        assert names.workload == "mlflow"
        assert names.backend_store == "mlflow-backend-store"
        assert names.artifact_store == "mlflow-artifact-store"
        assert names.client == "mlflow-client"
        assert names.former_scripts == "mlflow-check"
        assert names.database == "mlflow-database"
        assert names.migration("3.17.2") == "mlflow-migrate-3-17-2"


class TestArtifactPrefix:
    @given(
        st.lists(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True), min_size=1, max_size=6)
    )
    def test_of_plain_segments_is_kept_as_it_is(self, parts: list[str]) -> None:
        assert naming.checked_artifact_prefix("/".join(parts)) == "/".join(parts)

    def test_of_the_default_template_is_namespace_and_name(self) -> None:
        assert naming.artifact_prefix(naming.DEFAULT_ARTIFACT_PREFIX, VALUES) == "team-a/mlflow"

    @pytest.mark.parametrize(
        "prefix",
        [
            "",
            "/",
            "/team-a",
            "team-a/",
            "team-a//mlflow",
            ".",
            "..",
            "team-a/../team-b",
            "team-a/./mlflow",
            "team-a/.hidden",
            ".tracking-operator/prefixes",
            "team-*",
            "team-?",
            "team-a/${aws:username}",
            "team a",
            "team-a\n",
            "team-ä",
            "team-a%2f",
            "a" * 201,
        ],
    )
    def test_that_could_reach_elsewhere_is_refused_with_a_sentence(self, prefix: str) -> None:
        with pytest.raises(BadName, match=r"is not the prefix of a server's artifacts: .+\.$"):
            naming.checked_artifact_prefix(prefix)

    def test_is_checked_after_rendering(self) -> None:
        with pytest.raises(BadName):
            naming.artifact_prefix("{{ namespace }}/../{{ name }}", VALUES)


class TestNamesOfIdentities:
    def test_a_secret_is_called_as_the_template_says(self) -> None:
        assert naming.secret_name("{{ name }}-s3", VALUES) == "mlflow-s3"

    @pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a..b", ".a", "a/b", "a" * 254])
    def test_a_secret_of_an_impossible_name_is_refused(self, name: str) -> None:
        with pytest.raises(BadName, match="is not the name of a Secret"):
            naming.secret_name(name, VALUES)

    def test_a_role_is_called_as_the_template_says(self) -> None:
        template = "arn:aws:iam::123456789012:role/mlflow-{{ namespace }}.{{ name }}"
        assert naming.role_arn(template, VALUES) == "arn:aws:iam::123456789012:role/mlflow-team-a.mlflow"

    @pytest.mark.parametrize(
        "arn", ["", "mlflow", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"]
    )
    def test_a_role_without_an_arn_is_refused(self, arn: str) -> None:
        with pytest.raises(BadName, match="is not the ARN of a role"):
            naming.role_arn(arn, VALUES)

    def test_jobs_and_secrets_of_artifacts_are_called_after_the_server(self) -> None:
        names = ChildNames("mlflow")
        assert (names.artifacts, names.check_artifacts, names.delete_artifacts) == (
            "mlflow-artifacts",
            "mlflow-check-artifacts",
            "mlflow-delete-artifacts",
        )
