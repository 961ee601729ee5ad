// Package picture draws a topology: as a tree of text, as SVG, as a page of HTML, and as DOT for Graphviz. It is pure, and the same graph gives
// the same bytes. Names come from runtimes and may hold anything; no drawing lets one out of its place.
package picture
