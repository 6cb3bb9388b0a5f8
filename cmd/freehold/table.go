package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// exportedData is freehold.export/1, of a table that went into a file.
type exportedData struct {
	terminal.Data
	Table backoffice.Noun `json:"table"`
	Rows  int             `json:"rows"`
	File  string          `json:"file"`
}

// importedData is freehold.import/1.
type importedData struct {
	terminal.Data
	Table   backoffice.Noun `json:"table"`
	New     int             `json:"new"`
	Changed int             `json:"changed"`
	Same    int             `json:"same"`            // there already
	Again   bool            `json:"again,omitempty"` // done before under its key
	Items   []importedItem  `json:"items,omitempty"`
}

type importedItem struct {
	Line         int                     `json:"line"`
	Key          string                  `json:"key,omitempty"`
	ActivationID capability.ActivationID `json:"activationId"`
}

func exportCommand(f *flags) *cobra.Command {
	var (
		format, file string
		filter       entitlement.ItemFilter
	)
	c := &cobra.Command{
		Use: "export accounts|products|models|entitlements", Short: "Write a table of the book, for a spreadsheet or another back office", Args: cobra.ExactArgs(1),
		Long: "Export writes accounts, products, license models or line items as CSV or JSON. freehold import reads both. " +
			"In CSV a cell that a spreadsheet would take for a formula has an apostrophe before it, which import takes away again. Times are in UTC; the columns state, used and left are for people, and not read. With --json the table itself is JSON; of one that goes into a file it says how many rows it has.",
		Example: "  freehold export entitlements -o items.csv\n  freehold export models --format json",
		RunE: func(c *cobra.Command, args []string) error {
			noun := backoffice.Noun(args[0])
			if !slices.Contains(backoffice.Nouns(), noun) {
				return terminal.Usage("%q is no table: want accounts, products, models or entitlements", args[0])
			}
			if f.json && file == "" && !c.Flags().Changed("format") {
				format = "json"
			}
			if f.json && file == "" && format != "json" {
				return terminal.Usage("--json with --format %s: say which of them, or write the table to a file with -o", format)
			}
			write, known := map[string]func(io.Writer, backoffice.Noun, []backoffice.Row) error{"csv": backoffice.WriteCSV, "json": backoffice.WriteJSON}[format]
			if !known {
				return terminal.Usage("--format %q: want csv or json", format)
			}
			return f.look(func(o *backoffice.Office) error {
				rows := o.Rows(noun, filter, now())
				if file == "" {
					out := bufio.NewWriterSize(c.OutOrStdout(), 1<<16)
					if err := write(out, noun, rows); err != nil {
						return err
					}
					return out.Flush()
				}
				var b bytes.Buffer
				if err := write(&b, noun, rows); err != nil {
					return err
				}
				if err := writeNew(file, b.Bytes()); err != nil || !f.json {
					return err
				}
				return printJSON(c.OutOrStdout(), exportedData{terminal.NewData("freehold.export/1"), noun, len(rows), file})
			})
		},
	}
	c.Flags().StringVar(&format, "format", "csv", "`form` of the table: csv or json")
	c.Flags().StringVarP(&file, "output", "o", "", "write to `file`, which must not be there with other content")
	c.Flags().StringVar(&filter.Customer, "customer", "", "of line items, only those of this `customer`")
	c.Flags().StringVar(&filter.Product, "product", "", "of line items, only those of this `product`")
	return c
}

func importCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Read a table into the book", Args: cobra.ExactArgs(1),
		Long: "Import reads a table as export writes it, CSV or JSON, and says by its columns what it lists. All rows are checked before one is written: a wrong one changes nothing, and is named with line and column.\n\n" +
			"Accounts, products and license models are set to what their rows say; a column that a CSV file does not have leaves what there is. A line item is never changed: a row names it by an activation ID, or by a key of its own, as an order number, and the same key is always the same line item. " +
			"So an import can be repeated, also one that was cut off. The activation ID of each row is printed behind its key.",
		Example: "  freehold import items.csv",
		RunE: func(c *cobra.Command, args []string) error {
			b, err := readTable(args[0])
			if err != nil {
				return err
			}
			noun, rows, err := backoffice.ReadTable(b)
			if err != nil {
				return f.coded(fmt.Errorf("%s: %w", args[0], err))
			}
			return f.look(func(o *backoffice.Office) error {
				done, err := o.Import(noun, rows, operator(), now())
				if err != nil {
					return f.coded(fmt.Errorf("%s: %w", args[0], err))
				}
				return f.imported(c.OutOrStdout(), noun, rows, done)
			})
		},
	}
}

// readTable reads a file that somebody made, and one byte more than allowed at most.
func readTable(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	b, err := io.ReadAll(io.LimitReader(file, backoffice.MaxTableBytes+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	return b, nil
}

func (f *flags) imported(w io.Writer, noun backoffice.Noun, rows []backoffice.Row, done *backoffice.Imported) error {
	data := importedData{terminal.NewData("freehold.import/1"), noun, done.New, done.Changed, done.Same, done.Again, nil}
	for i, id := range done.Items {
		data.Items = append(data.Items, importedItem{rows[i].Line, rows[i].Key, id})
	}
	if f.json {
		return printJSON(w, data)
	}
	out := bufio.NewWriter(w)
	for _, i := range data.Items {
		if i.Key != "" {
			fmt.Fprintf(out, "%s  %s\n", i.ActivationID, terminal.Plain(i.Key))
		}
	}
	if done.Again {
		fmt.Fprintf(out, "%s: done before under this key\n", noun)
	} else {
		fmt.Fprintf(out, "%s: %d new, %d changed, %d there already\n", noun, done.New, done.Changed, done.Same)
	}
	return out.Flush()
}
