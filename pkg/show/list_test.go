package show

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/golden"
)

func networks() []conflist.Network {
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pool := func(subnet string) conflist.Pool { return conflist.Pool{Subnet: netip.MustParsePrefix(subnet)} }
	all := []conflist.Network{
		{Name: "web10", Driver: "bridge", Created: made, Labels: map[string]string{"tier": "web", "env": "test"},
			IPAM: conflist.IPAM{Pools: []conflist.Pool{pool("172.18.0.0/16"), pool("fd00::/64")}}},
		{Name: "web2", Driver: "bridge", Created: made, Internal: true, Labels: map[string]string{"tier": "web"},
			IPAM: conflist.IPAM{Pools: []conflist.Pool{pool("172.19.0.0/16")}}},
		{Name: "a-network-with-a-long-name", Driver: "overlay", Scope: "global", Created: made},
		{Name: "lan", Driver: "macvlan", Created: made},
		{Name: "none", Driver: "null"}, {Name: "host", Driver: "host"}, {Name: "bridge", Driver: "bridge"},
	}
	for i := range all {
		all[i].ID = conflist.IDOf(all[i].Name)
		if all[i].Scope == "" {
			all[i].Scope = "local"
		}
	}
	return all
}

func printed(t *testing.T, o ListOptions) string {
	t.Helper()
	list, err := NewList(o)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := list.Print(&out, networks()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestForms(t *testing.T) {
	for name, o := range map[string]ListOptions{
		"default":         {},
		"no-trunc":        {NoTrunc: true},
		"quiet":           {Quiet: true},
		"quiet-no-trunc":  {Quiet: true, NoTrunc: true},
		"json":            {Format: "json"},
		"table":           {Format: "table"},
		"label":           {Format: `table {{.Name}}\t{{.Label "tier"}}`},
		"raw":             {Format: "raw"},
		"quiet-table":     {Format: "table", Quiet: true},
		"table-template":  {Format: `table {{.Name}}\t{{.IPv4}}\t{{.IPv6}}\t{{.Internal}}\t{{.Labels}}\t{{.CreatedAt}}`},
		"template":        {Format: `{{.ID}}: {{.Name | upper}} {{json .Labels}}`},
		"template-tables": {Format: `{{.Name}} tables`},
	} {
		t.Run(name, func(t *testing.T) {
			golden.Compare(t, "list/"+name+".golden", printed(t, o))
		})
	}
}

func TestFilters(t *testing.T) {
	used := func() (map[string]bool, error) { return map[string]bool{"web2": true}, nil }
	for _, test := range []struct {
		filters string // separated by spaces
		want    string
	}{
		{"", "a-network-with-a-long-name bridge host lan none web2 web10"},
		{"driver=bridge", "bridge web2 web10"},
		{"driver=bridge driver=null", "bridge none web2 web10"},
		{"driver=bridge type=custom", "web2 web10"},
		{"driver=bri", ""},
		{"type=builtin", "bridge host none"},
		{"type=builtin type=custom", "a-network-with-a-long-name bridge host lan none web2 web10"},
		{"scope=global", "a-network-with-a-long-name"},
		{"name=web", "web2 web10"},
		{"name=^web.$", "web2"},
		{"id=" + conflist.IDOf("lan")[:8], "lan"},
		{"label=tier", "web2 web10"},
		{"label=tier=web label=env", "web10"},
		{"label=tier=db", ""},
		{"dangling=true", "a-network-with-a-long-name lan web10"},
		{"dangling=false", "bridge host none web2"},
	} {
		got := printed(t, ListOptions{Filters: strings.Fields(test.filters), Used: used, Format: "{{.Name}}"})
		if diff := cmp.Diff(test.want, strings.Join(strings.Fields(got), " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.filters, diff)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]ListOptions{
		"write KEY=VALUE":        {Filters: []string{"driver"}},
		`there is no key "size"`: {Filters: []string{"size=1"}},
		"type=builtin":           {Filters: []string{"type=mine"}},
		"dangling=true":          {Filters: []string{"dangling=maybe"}},
		"once":                   {Filters: []string{"dangling=true", "dangling=false"}},
		"missing closing )":      {Filters: []string{"name=("}},
		"cannot be read":         {Format: "{{.Name"},
		`no entry for key "Nam"`: {Format: "table {{.Nam}}"},
		`no entry for key "Na"`:  {Format: "{{.Na}}"},
	} {
		if _, err := NewList(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", o, err, want)
		}
	}
}
