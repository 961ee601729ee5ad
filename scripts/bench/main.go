// Command bench measures fairway's plugins beside containernetworking's: both are driven through libcni as a runtime does
// it, in turns. The overlay, which upstream does not have, is measured beside itself without peers and beside plain VXLAN.
// All happens in network and mount namespaces that the program makes for itself. It is a benchmark and not a test: a missed
// goal is printed and changes no exit status. A plugin that answers an error does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

type options struct {
	ours, upstream, json, svg, from, scratch string
	only                                     *regexp.Regexp
	rounds                                   int
}

func main() {
	if err := run(parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.ours, "ours", "bin", "`directory` of fairway's plugins")
	flag.StringVar(&o.upstream, "upstream", ".tools", "`directory` of containernetworking's plugins")
	flag.StringVar(&o.json, "json", "", "write every sample to this `file` too")
	flag.StringVar(&o.svg, "svg", "", "draw the ratios into this `file` too")
	flag.StringVar(&o.from, "from", "", "measure nothing, and draw what an earlier run has written to this `file`")
	flag.StringVar(&o.scratch, "scratch", "/var/tmp", "`directory` for reservations, on a real disk")
	flag.IntVar(&o.rounds, "n", 20, "`rounds` per row; slow ones are content with fewer")
	pattern := flag.String("run", "", "only rows whose name matches this `regexp`")
	flag.Parse()
	only, err := regexp.Compile(*pattern)
	if err != nil || o.rounds < 1 || flag.NArg() > 0 || o.from != "" && o.svg == "" {
		flag.Usage()
		os.Exit(2)
	}
	o.only = only
	return o
}

func run(o options) error {
	if o.from != "" {
		return replot(o.from, o.svg)
	}
	upstream, err := openSuite("upstream", o.upstream)
	if err != nil {
		return err
	}
	ours, err := openSuite("fairway", o.ours)
	if err != nil {
		return err
	}
	if err := testnet.Isolate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	scratch, err := os.MkdirTemp(o.scratch, "fairway-bench-")
	if err != nil {
		return err
	}
	b := bench{upstream: upstream, ours: ours, scratch: scratch, rounds: o.rounds}
	rows, err := b.tables(ctx, os.Stdout, o.only)
	if o.json != "" {
		err = errors.Join(err, writeJSON(o.json, rows))
	}
	if o.svg != "" {
		err = errors.Join(err, writePlot(o.svg, rows))
	}
	return errors.Join(err, os.RemoveAll(scratch))
}
