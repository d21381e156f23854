// Says how Flux finds resources, by the code that its kustomize-controller runs: by kstatus alone, and by healthCheckExprs.
//
// It reads JSON from its standard input: healthCheckExprs as a Kustomization has them, and resources. It writes a list with what
// both say of each resource.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
	Resources        []json.RawMessage             `json:"resources"`
}

type answer struct {
	KStatus     string `json:"kstatus"`
	Expressions string `json:"expressions"`
}

func answers(asked question) ([]answer, error) {
	forMapper, err := cel.NewStatusReader(asked.HealthCheckExprs)
	if err != nil {
		return nil, err
	}
	reader := forMapper(nil) // it maps kinds to resources only to read them from a cluster
	found := make([]answer, 0, len(asked.Resources))
	for _, content := range asked.Resources {
		resource := &unstructured.Unstructured{}
		if err := resource.UnmarshalJSON(content); err != nil {
			return nil, err
		}
		alone, err := status.Compute(resource)
		if err != nil {
			return nil, err
		}
		judged, err := reader.ReadStatusForObject(context.Background(), nil, resource)
		if err != nil {
			return nil, err
		}
		found = append(found, answer{string(alone.Status), string(judged.Status)})
	}
	return found, nil
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	found, err := answers(asked)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
