// Package plantest compares the plans of modes with golden files, as the commands an administrator would type.
package plantest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

var update = flag.Bool("update", false, "write the golden files of plans anew")

// Golden compares a text with testdata/NAME.golden. `go test -update` writes those files anew.
func Golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// Describe writes a plan as commands with their namespaces, and the result below.
func Describe(set state.Set, result attach.Result) string {
	var text strings.Builder
	for _, object := range set {
		fmt.Fprintf(&text, "%-9s  %s\n", state.Where(object), commands(object))
	}
	text.WriteString("\n")
	for _, i := range result.Interfaces {
		fmt.Fprintf(&text, "interface %s of the %s\n", i.Name, i.In)
	}
	for _, ip := range result.IPs {
		fmt.Fprintf(&text, "address %s, gateway %s\n", ip.Prefix, ip.Gateway)
	}
	for _, route := range result.Routes {
		fmt.Fprintf(&text, "route %s, gateway %s\n", route.Dst, route.GW)
	}
	return text.String()
}

// commands writes the commands of an object below each other. Those without an address have none.
func commands(object state.Object) string {
	if object.String() == "" {
		return fmt.Sprintf("# %T of no address", object)
	}
	return strings.ReplaceAll(object.String(), " && ", "\n           ")
}
