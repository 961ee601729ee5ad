// Upstreamtests runs the tests of containernetworking/plugins against our binaries: each spec calls the verbs of a plugin, in place of which a
// binary is executed; the texts of refusals are put into upstream's words. A spec is lost that passes with upstream's own code on this
// machine, and not with ours. differences.txt has the reasons of those that are lost on purpose; one that is lost without a reason ends the
// program with status 1.
//
//	sudo upstreamtests -ours bin [PACKAGE...]
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const version = "v1.9.1"

// packages are those with a plugin of the same name among ours.
var packages = []string{
	"main/bridge", "main/macvlan", "main/ptp", "main/loopback", "ipam/host-local", "ipam/static",
	"meta/portmap", "meta/firewall", "meta/tuning", "meta/bandwidth", "meta/sbr",
}

//go:embed differences.txt
var differencesText string

func main() {
	ours := flag.String("ours", "bin", "`directory` of the plugins under test")
	verbose := flag.Bool("v", false, "print each spec that is lost, with its failure")
	flag.Parse()
	if flag.NArg() > 0 {
		packages = flag.Args()
	}
	if err := run(*ours, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "upstreamtests:", err)
		os.Exit(1)
	}
}

func run(ours string, verbose bool) error {
	differences, err := parseDifferences(differencesText)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("/var/tmp", "upstream-tests") // each suite has a /tmp of its own
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // a temporary directory
	bin := filepath.Join(work, "ours")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, p := range packages {
		if err := copyTree(filepath.Join(ours, path.Base(p)), filepath.Join(bin, path.Base(p))); err != nil {
			return err
		}
	}
	sources, err := prepare(work)
	if err != nil {
		return err
	}
	unexplained := 0
	fmt.Println("| package | specs | pass with upstream | pass with fairway | lost, with a reason | lost without |\n|---|---|---|---|---|---|")
	for _, p := range packages {
		theirs, err := sources.test(p, "")
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		got, err := sources.test(p, bin)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		lost := lostSpecs(theirs, got)
		open := slices.DeleteFunc(slices.Clone(lost), func(s spec) bool { return differences.explain(p, s) })
		unexplained += len(open)
		fmt.Printf("| %s | %d | %d | %d | %d | %d |\n", p, len(got), passed(theirs), passed(got), len(lost)-len(open), len(open))
		for _, s := range open {
			fmt.Fprintf(os.Stderr, "%s: lost without a reason: %s\n", p, s.name)
		}
		if verbose {
			for _, s := range lost {
				fmt.Fprintf(os.Stderr, "%s: %s\n\t%s\n", p, s.name, s.failure)
			}
		}
	}
	if unexplained > 0 {
		return fmt.Errorf("%d specs are lost without a reason", unexplained)
	}
	return nil
}
