package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/picture"
	"github.com/fairway-cni/fairway/pkg/snapshot"
	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
	"github.com/fairway-cni/fairway/pkg/topology"
)

// topologyFormats are the values of the flag --output.
var topologyFormats = []string{"text", "svg", "html", "dot", "json"}

func newTopology(e *env) *cobra.Command {
	var o topologyFlags
	cmd := &cobra.Command{
		Use:   "topology [OPTIONS] [FILE]",
		Short: "Show where packets can go on this host",
		Long: `Show where packets can go on this host: the way out, the bridges, tunnels and parents with their networks, and the
containers behind, with their interfaces and addresses. What others made, such as docker0, is shown as well. Of more than
fifteen containers of a network the picture and the terminal show the first; the page of -o html unfolds and searches.

The kernel is read, and what CNI runtimes have recorded; nothing is changed. The picture is printed, or written to FILE.`,
		Example: `  fairway topology
  fairway topology -o svg host.svg
  fairway topology -o html host.html
  fairway topology -o dot | dot -Tpng > host.png
  fairway topology -o json | jq '.nodes[] | select(.kind == "container")'`,
		Args: arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(topologyFormats, o.output) {
				return usageError{fmt.Errorf("--output %q: give one of %s", o.output, strings.Join(topologyFormats, ", "))}
			}
			return e.topology(o, args)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "`format`: "+strings.Join(topologyFormats, ", "))
	cmd.Flags().BoolVar(&o.ascii, "ascii", false, "draw the text without box-drawing characters")
	cmd.Flags().BoolVar(&o.all, "all", false, "show every container on a terminal, too")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(topologyFormats, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

type topologyFlags struct {
	output string
	ascii  bool
	all    bool
}

// topology prints the picture, or writes it to the file that is named.
func (e *env) topology(o topologyFlags, file []string) error {
	graph, err := e.graph()
	if err != nil {
		return err
	}
	if len(file) == 0 {
		style := picture.Style{ASCII: o.ascii, Colour: e.colour, Width: e.width, All: o.all || e.width == 0}
		return o.draw(e.stdout, graph, style)
	}
	var content bytes.Buffer
	if err := o.draw(&content, graph, picture.Style{ASCII: o.ascii, All: true}); err != nil {
		return err
	}
	return writeNamed(file[0], content.Bytes())
}

func (o topologyFlags) draw(w io.Writer, g topology.Graph, style picture.Style) error {
	switch o.output {
	case "svg":
		return picture.SVG(w, g)
	case "html":
		return picture.HTML(w, g)
	case "dot":
		return picture.DOT(w, g)
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(g)
	}
	return picture.Text(w, g, style)
}

// graph looks at the host.
func (e *env) graph() (topology.Graph, error) {
	networks, err := e.settled()
	if err != nil {
		return topology.Graph{}, err
	}
	attached, err := e.runtime().List()
	if err != nil {
		return topology.Graph{}, err
	}
	host, err := snapshot.Read(namespacesOf(attached))
	if err != nil {
		return topology.Graph{}, err
	}
	k, err := kernel.Open("")
	if err != nil {
		return topology.Graph{}, err
	}
	defer k.Close()
	masqueraded, err := ruleset.Masqueraded(k)
	if err != nil {
		e.warn(err) // a kernel without nftables masquerades nothing
	}
	published, err := ports.ByOwner(k)
	if err != nil {
		e.warn(err)
	}
	return topology.Build(topology.Facts{
		Host: host, Networks: topology.DescribeNetworks(networks.All),
		Attachments: topology.DescribeAttachments(attached, published), Masqueraded: masqueraded,
	}), nil
}

func namespacesOf(attached []attachment.Attachment) []string {
	var paths []string
	for _, a := range attached {
		if a.Netns != "" {
			paths = append(paths, a.Path())
		}
	}
	return paths
}
