mod examples;
mod grammars;
mod hostile;
mod twins;

use super::{Limits, Tables};

const LIMITS: Limits = Limits { steps: 2_000_000, time_ms: 5_000, rows: 1000, bytes: 1 << 20 };

const ORDERS: &str = "\
order_id,customer_id,order_date,amount,status
O-1,C1,2025-01-08,\"1,104.52\",paid
O-2,C2,13.07.2025,0.10,open
O-3,C1,2 Apr 2025,0.20,paid
O-4,C9,2025-12-24,99.00,it's late
";
const CUSTOMERS: &str = "\
customer_id;name;since;rating;active
C1;Farnaby & Co;2019;4,5;yes
C2;\"\"\"Ember\"\" Quarrybank\";2021;3,25;no
C3;Äpfel AG;2020;;yes
";
const LOG: &str = "\
2025-03-01 14:52:07 INFO  node-28g retry req-1
2025-03-05 11:13:07 ERROR node-28h disk full req-2
2025-03-06 11:13:07 WARN  node-28g slow query req-3
2025-03-07 11:13:07 ERROR node-28g disk full req-4
";
const HOSTS: &str =
    "| host | Select | team lead |\n|---|---|---|\n| node-28g | 1 | Ann |\n| node-28h | 2 | Bo |\n";

fn tables(files: &[(&str, &str)]) -> Tables {
    let mut tables = Tables::new(LIMITS).unwrap();
    for (file, text) in files {
        tables.add(file, text).unwrap();
    }
    tables
}

fn all_tables() -> Tables {
    tables(&[("orders.csv", ORDERS), ("customers.csv", CUSTOMERS), ("service.log", LOG), ("hosts.md", HOSTS)])
}
