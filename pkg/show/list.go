package show

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/identifier"
)

// ListOptions are those of `docker network ls`.
type ListOptions struct {
	Quiet   bool     // IDs only
	NoTrunc bool     // IDs in full
	Format  string   // see NewRows; empty: a table
	Filters []string // KEY=VALUE each; see FilterKeys
	// Used gives the names of the networks that containers are on. It is asked when a filter wants to know. Nil: none.
	Used func() (map[string]bool, error)
}

// List prints networks.
type List struct {
	options ListOptions
	filter  filter
	rows    Rows
}

// listColumns and listHeadings are Docker's.
var (
	listColumns  = []string{"ID", "Name", "Driver", "Scope"}
	listHeadings = map[string]string{
		"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
		"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
	}
)

// NewList reads the options. It fails on a filter or a format that cannot be understood.
func NewList(o ListOptions) (List, error) {
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
	rows, err := NewRows(o.Format, listColumns, listHeadings)
	return List{options: o, filter: filter, rows: rows}, err
}

// Print prints the networks that pass the filters, by name, in natural order.
func (l List) Print(out io.Writer, networks []conflist.Network) error {
	networks = slices.Clone(networks)
	slices.SortStableFunc(networks, func(a, b conflist.Network) int { return identifier.CompareNatural(a.Name, b.Name) })
	var used map[string]bool
	if l.filter.dangling != nil && l.options.Used != nil {
		var err error
		if used, err = l.options.Used(); err != nil {
			return err
		}
	}
	var rows []Row
	for _, n := range networks {
		if l.filter.passes(n, used[n.Name]) {
			rows = append(rows, l.row(n))
		}
	}
	return l.rows.Print(out, rows)
}

func (l List) row(n conflist.Network) Row {
	id := n.ShortID()
	if l.options.NoTrunc {
		id = n.ID
	}
	row := Row{
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
