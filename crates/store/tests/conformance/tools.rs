//! Tools and the agents that have them.

use mnemic_core::{builtin, ids::ToolId, time::Timestamp, tools::ToolType};
use mnemic_store::{
    StoreError, agents,
    page::{Order, Page},
    params,
    tools::{self, ToolFilter},
};

use crate::{
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read, write,
};

async fn ensure(house: &House) -> usize {
    write!(house, |tx, scope| tools::ensure_builtins(
        tx,
        scope,
        Timestamp(1)
    )
    .await)
    .unwrap()
}

async fn id_of(house: &House, name: &str) -> ToolId {
    let names = [name.to_owned()];
    read!(house, |tx, scope| tools::by_names(tx, scope, &names).await).unwrap()[0].id
}

#[tokio::test]
async fn built_in_tools_are_made_once_and_keep_their_ids() {
    on_each_engine(async |house| {
        assert_eq!(ensure(house).await, builtin::all().len());
        let id = id_of(house, "memory_insert").await;
        assert_eq!(ensure(house).await, 0);
        let tool = read!(house, |tx, scope| tools::get(tx, scope, id).await).unwrap();
        let spec = builtin::find("memory_insert").unwrap();
        assert_eq!(tool.json_schema, spec.json_schema());
        assert_eq!((tool.tool_type, tool.source_code), (spec.tool_type, None));
    })
    .await;
}

#[tokio::test]
async fn a_built_in_tool_that_changed_is_brought_up_to_date_and_its_agents_know() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let id = id_of(house, "memory_insert").await;
        write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await).unwrap();
        write!(house, |tx, scope| {
            let sql = "UPDATE tools SET json_schema = '{}' WHERE id = $1";
            tx.execute(sql, params![id]).await
        })
        .unwrap();
        assert_eq!(ensure(house).await, 1);
        assert_eq!(id_of(house, "memory_insert").await, id);
        let after = read!(house, |tx, scope| agents::get(tx, scope, agent).await).unwrap();
        assert_eq!(after.revision, 2);
    })
    .await;
}

#[tokio::test]
async fn tools_of_an_agent_stand_in_the_order_of_attachment() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let wanted = ["send_message", "conversation_search"];
        for name in wanted {
            let id = id_of(house, name).await;
            let added = write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await);
            assert!(added.unwrap());
            let again = write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await);
            assert!(!again.unwrap(), "it was attached already");
        }
        let names = |tools: Vec<mnemic_core::tools::Tool>| -> Vec<String> {
            tools.into_iter().map(|tool| tool.name).collect()
        };
        let found = read!(house, |tx, scope| tools::of_agent(tx, scope, agent).await).unwrap();
        assert_eq!(names(found), wanted);
        let id = id_of(house, "send_message").await;
        assert!(write!(house, |tx, scope| tools::detach(tx, agent, id).await).unwrap());
        assert!(!write!(house, |tx, scope| tools::detach(tx, agent, id).await).unwrap());
        let found = read!(house, |tx, scope| tools::of_agent(tx, scope, agent).await).unwrap();
        assert_eq!(names(found), ["conversation_search"]);
        let unknown = write!(house, |tx, scope| {
            tools::attach(tx, scope, agent, ToolId::new()).await
        });
        assert!(matches!(
            unknown,
            Err(StoreError::NotFound { noun: "Tool", .. })
        ));
    })
    .await;
}

fn with(change: impl FnOnce(&mut ToolFilter)) -> ToolFilter {
    let mut filter = ToolFilter::default();
    change(&mut filter);
    filter
}

async fn found(house: &House, filter: ToolFilter) -> usize {
    let counted = filter.clone();
    let page = Page::first(100, Order::Desc);
    let listed = read!(house, |tx, scope| tools::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    let count = read!(house, |tx, scope| tools::count(tx, scope, &counted).await).unwrap();
    assert_eq!(count, i64::try_from(listed.len()).unwrap());
    listed.len()
}

#[tokio::test]
async fn filters_find_tools() {
    on_each_engine(async |house| {
        ensure(house).await;
        let agent = stored_agent(house, agent("a")).await;
        let id = id_of(house, "send_message").await;
        write!(house, |tx, scope| tools::attach(tx, scope, agent, id).await).unwrap();
        let all = builtin::all();
        let core = |tool: &&builtin::BuiltinTool| tool.tool_type == ToolType::LettaCore;
        let (all, core) = (all.len(), all.iter().filter(core).count());
        let names = vec!["send_message".to_owned(), "nope".to_owned()];
        let table = [
            (with(|_| ()), all),
            (with(|f| f.names = names), 1),
            (with(|f| f.ids = vec![id]), 1),
            (with(|f| f.search = Some("SEND_".to_owned())), 1),
            (with(|f| f.types = vec![ToolType::LettaCore]), core),
            (
                with(|f| f.without_types = vec![ToolType::LettaCore]),
                all - core,
            ),
            (with(|f| f.types = vec![ToolType::Custom]), 0),
            (with(|f| f.agent_id = Some(agent)), 1),
        ];
        for (filter, wanted) in table {
            let asked = format!("{} {filter:?}", house.engine);
            assert_eq!(found(house, filter).await, wanted, "{asked}");
        }
    })
    .await;
}
