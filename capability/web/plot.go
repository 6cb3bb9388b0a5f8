package web

import (
	"fmt"
	"html"
	"strconv"
	"strings"
)

// Plot is a picture of numbers in a row: bars, beside each other for each label. It says what it shows in words too, and the page that has it has the numbers in a table.
type Plot struct {
	Title, Description string
	Labels             []string
	Series             []Series // at most MaxSeries
}

// Series is one number for each label of a plot.
type Series struct {
	Name   string
	Values []uint64
}

// MaxSeries are told apart by their colors and by where they are.
const MaxSeries = 3

// The measures of a plot, in units of its view box.
const (
	plotWidth, plotHeight                    = 960, 300
	plotLeft, plotRight, plotTop, plotBottom = 70, 10, 40, 60

	highest    = 1 << 60 // value that is told from others
	plotTicks  = 5       // lines across it, about
	plotLabels = 24      // of them so many are written at most
)

// SVG draws the plot, to be put into a page or to be kept as a file. Nothing in it is styled here: its classes are plot-0 to plot-2 for the bars, plot-line for the lines.
func (p *Plot) SVG() []byte {
	var b strings.Builder
	most := uint64(0)
	for _, s := range p.Series {
		for _, v := range s.Values {
			most = min(max(most, v), highest)
		}
	}
	step := tick(most)
	top := max((most+step-1)/step, 1) * step
	const width, height = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	y := func(v uint64) float64 { return plotTop + height*(1-float64(min(v, top))/float64(top)) }
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %d %d" role="img" aria-labelledby="plot-title plot-desc" font-size="12" font-family="sans-serif" fill="currentColor">`, plotWidth, plotHeight)
	fmt.Fprintf(&b, `<title id="plot-title">%s</title><desc id="plot-desc">%s</desc>`, html.EscapeString(p.Title), html.EscapeString(p.Description))
	for v := uint64(0); v <= top; v += step {
		fmt.Fprintf(&b, `<line class="plot-line" x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="currentColor" stroke-opacity="0.25"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`, plotLeft, plotWidth-plotRight, y(v), y(v), plotLeft-6, y(v)+4, short(v))
	}
	for n, s := range p.Series {
		x := plotLeft + n*220
		fmt.Fprintf(&b, `<rect class="plot-%d" x="%d" y="12" width="12" height="12"%s/><text x="%d" y="23">%s</text>`, n, x, plain(n), x+18, html.EscapeString(s.Name))
	}
	if len(p.Labels) > 0 {
		p.bars(&b, float64(width)/float64(len(p.Labels)), y)
	}
	b.WriteString("</svg>")
	return []byte(b.String())
}

// bars draws the values, each with its words, and the labels below.
func (p *Plot) bars(b *strings.Builder, each float64, y func(uint64) float64) {
	bar := each * 0.8 / float64(max(len(p.Series), 1))
	for i, label := range p.Labels {
		x := plotLeft + (float64(i)+0.1)*each
		for n, s := range p.Series {
			if i < len(s.Values) && s.Values[i] > 0 {
				v := s.Values[i]
				fmt.Fprintf(b, `<rect class="plot-%d" x="%.2f" y="%.2f" width="%.2f" height="%.2f"%s><title>%s, %s: %d</title></rect>`, n, x+float64(n)*bar, y(v), bar, y(0)-y(v), plain(n), html.EscapeString(label), html.EscapeString(s.Name), v)
			}
		}
		if every := (len(p.Labels) + plotLabels - 1) / plotLabels; i%every == 0 {
			fmt.Fprintf(b, `<text x="%.2f" y="%d" text-anchor="end" transform="rotate(-30 %.2f %d)">%s</text>`, x+each*0.4, plotHeight-plotBottom+16, x+each*0.4, plotHeight-plotBottom+16, html.EscapeString(brief(label)))
		}
	}
}

// plain is the color of a series where there is no style.
func plain(n int) string {
	return ` fill="` + []string{"#0b5cad", "#a40e26", "#7d4e00"}[n%MaxSeries] + `"`
}

// tick is the distance of the lines across a plot whose highest value is most: 1, 2 or 5 and zeros.
func tick(most uint64) uint64 {
	step := uint64(1)
	for {
		for _, f := range []uint64{1, 2, 5} {
			if most/plotTicks <= step*f && (most < plotTicks || most-1 < step*f*plotTicks) {
				return step * f
			}
		}
		if step > 1<<59 {
			return step
		}
		step *= 10
	}
}

// short is a number in few letters.
func short(v uint64) string {
	for _, unit := range []struct {
		from, of uint64
		name     string
	}{{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}} {
		if v >= unit.from {
			return strconv.FormatFloat(float64(v)/float64(unit.of), 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatUint(v, 10)
}

// brief is a label that fits.
func brief(s string) string {
	const most = 18
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
