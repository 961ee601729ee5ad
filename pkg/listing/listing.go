// Package listing is what `fairway ls` prints: which networks, in which order, and which fields of each.
package listing

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/format"
	"github.com/fairway-cni/fairway/pkg/identifier"
)

// Options are those of `docker network ls`.
type Options struct {
	Quiet   bool     // IDs only
	NoTrunc bool     // IDs in full
	Format  string   // see format.NewRows; empty: a table
	Filters []string // KEY=VALUE each; see FilterKeys
	// Used gives the names of the networks that containers are on. It is asked when a filter wants to know. Nil: none.
	Used func() (map[string]bool, error)
}

// List prints networks.
type List struct {
	options Options
	filter  filter
	rows    format.Rows
}

// columns and headings are Docker's.
var (
	columns  = []string{"ID", "Name", "Driver", "Scope"}
	headings = map[string]string{
		"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
		"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
	}
)

// New reads the options. It fails on a filter or a format that cannot be understood.
func New(o Options) (List, error) {
	switch {
	case o.Quiet && (o.Format == "" || o.Format == "table"):
		o.Format = "{{.ID}}"
	case o.Quiet && o.Format == "raw":
		o.Format = "network_id: {{.ID}}"
	case o.Format == "raw":
		o.Format = `network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n`
	}
	filter, err := parseFilters(o.Filters)
	if err != nil {
		return List{}, err
	}
	rows, err := format.NewRows(o.Format, columns, headings)
	return List{options: o, filter: filter, rows: rows}, err
}

// Print prints the networks that pass the filters, by name, in natural order.
func (l List) Print(out io.Writer, networks []conflist.Network) error {
	networks = slices.Clone(networks)
	slices.SortStableFunc(networks, func(a, b conflist.Network) int { return natural(a.Name, b.Name) })
	var used map[string]bool
	if l.filter.dangling != nil && l.options.Used != nil {
		var err error
		if used, err = l.options.Used(); err != nil {
			return err
		}
	}
	var rows []format.Row
	for _, n := range networks {
		if l.filter.passes(n, used[n.Name]) {
			rows = append(rows, l.row(n))
		}
	}
	return l.rows.Print(out, rows)
}

func (l List) row(n conflist.Network) format.Row {
	id := n.ShortID()
	if l.options.NoTrunc {
		id = n.ID
	}
	row := format.Row{
		"ID": id, "Name": n.Name, "Driver": n.Driver, "Scope": n.Scope, "Labels": labels(n.Labels), "CreatedAt": "",
		"IPv4": strconv.FormatBool(n.Has4()), "IPv6": strconv.FormatBool(n.Has6()), "Internal": strconv.FormatBool(n.Internal),
	}
	if !n.Created.IsZero() {
		row["CreatedAt"] = n.Created.UTC().String() // Docker's form
	}
	shown := map[string]string{}
	for key, value := range n.Labels {
		shown[key] = identifier.Printable(value)
	}
	row.SetLabels(shown)
	return row
}

func labels(all map[string]string) string {
	pairs := make([]string, 0, len(all))
	for key, value := range all {
		pairs = append(pairs, identifier.Printable(key+"="+value)) // whoever wrote the file, a terminal shows it as it is
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}
