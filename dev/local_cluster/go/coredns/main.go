// CoreDNS with only the plugins that the development cluster's Corefile names: without the clouds' SDKs it builds in
// half the time.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

// The order is that of CoreDNS's own plugin.cfg: it decides which plugin sees a question first.
func init() {
	dnsserver.Directives = []string{"ready", "health", "errors", "template", "kubernetes"}
}

func main() {
	coremain.Run()
}
