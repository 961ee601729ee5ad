package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/google/go-cmp/cmp"
)

// TestPlan compares plans with testdata/NAME.golden. `go test ./plugins/bridge -update` writes those files anew.
func TestPlan(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	for _, tt := range plans() {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse([]byte(tt.conf), attach.Env{})
			if err != nil {
				t.Fatal(err)
			}
			got := describe(plan(c, attach.Request{Owner: owner, Removal: tt.removal}, tt.lease))
			path := filepath.Join("testdata", tt.name+".golden")
			if update {
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
		})
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files of TestPlan")
	flag.Parse()
	os.Exit(m.Run())
}

// describe writes a plan as the commands an administrator would type, and the result below.
func describe(set state.Set, result attach.Result) string {
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
