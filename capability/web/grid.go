package web

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Grid is a picture of numbers in rows and columns: the more, the darker. It says what it shows in words too, and the page that has it has the numbers in a table.
type Grid struct {
	Title, Description string
	Rows, Columns      []string
	Values             [][]uint64 // by row and column
	Words              func(row, column int) string
}

const (
	cellWidth, cellHeight = 34, 24
	gridLeft, gridTop     = 100, 30
	shades                = 9
)

// SVG draws the grid, as Plot.SVG draws a plot.
func (g *Grid) SVG() []byte {
	var b strings.Builder
	most := uint64(1)
	for _, row := range g.Values {
		for _, v := range row {
			most = max(most, v)
		}
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %d %d" role="img" aria-labelledby="plot-title plot-desc" font-size="12" font-family="sans-serif" fill="currentColor">`,
		gridLeft+cellWidth*len(g.Columns), gridTop+cellHeight*len(g.Rows))
	fmt.Fprintf(&b, `<title id="plot-title">%s</title><desc id="plot-desc">%s</desc>`, html.EscapeString(g.Title), html.EscapeString(g.Description))
	for i, name := range g.Columns {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, gridLeft+cellWidth*i+cellWidth/2, gridTop-10, html.EscapeString(brief(name)))
	}
	for r, row := range g.Values {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, gridLeft-8, gridTop+cellHeight*r+cellHeight*2/3, html.EscapeString(brief(g.Rows[r])))
		for c, v := range row {
			shade := math.Ceil(shades * float64(v) / float64(most))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#0b5cad" fill-opacity="%.2f" stroke="currentColor" stroke-opacity="0.25"><title>%s</title></rect>`,
				gridLeft+cellWidth*c, gridTop+cellHeight*r, cellWidth-2, cellHeight-2, shade/shades, html.EscapeString(g.Words(r, c)))
		}
	}
	b.WriteString("</svg>")
	return []byte(b.String())
}
