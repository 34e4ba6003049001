// What a dashboard of ours may hold, by the types that Grafana publishes. dashboard_schema_test.py puts
// the dashboard below; tsc then refuses what is missing, misspelt, not known or of another type.
import type {
  AnnotationQuery,
  Dashboard,
  DataQuery,
  FieldConfigSource,
  Panel,
  RowPanel,
  VariableModel,
} from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the strings of enumerations, not their names.
type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

// What Grafana leaves to its data source.
interface Query extends DataQuery {
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  format?: 'table' | 'time_series';
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}
interface Marks {
  step: string;
  tagKeys: string;
  textFormat: string;
  titleFormat: string;
}

type Of<Kind, Options, Custom = {}> = Omit<Panel, 'type' | 'options' | 'targets' | 'fieldConfig'> & {
  type: Kind;
  title: string;
  options: Partial<Options>;
  targets: Query[];
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
    defaults: Omit<FieldConfigSource['defaults'], 'custom'> & { custom?: Partial<Custom> };
  };
};
type Ours = Omit<Dashboard, 'panels' | 'annotations' | 'templating'> & {
  panels: Array<
    | (RowPanel & { panels: [] })
    | Of<'stat', stat.Options>
    | Of<'table', table.Options, table.FieldConfig>
    | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>
  >;
  annotations: { list: Array<AnnotationQuery<Query & Marks> & Marks & { expr: string }> };
  templating: { list: Array<VariableModel & { definition?: string }> };
};

export const dashboard: Json<Ours> =
