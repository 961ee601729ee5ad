package main

import (
	"context"
)

// ofNames is the third table: what names cost an attachment, and what the resolver does.
func (b bench) ofNames() []measurement {
	plain := Case{Name: "bridge, names", Plugin: bridge("", v4), Present: 1, Add: atMost(1.10), Del: atMost(1.10)}
	named := plain
	named.Plugin = bridge(`"names": {}`, v4)
	return []measurement{
		{named.Name, func(ctx context.Context) ([]Row, error) {
			without, with := b.ours, b.ours
			without.name, with.name = "without", "with-names"
			return b.measure(ctx, entrant{without, plain}, entrant{with, named})
		}},
	}
}
